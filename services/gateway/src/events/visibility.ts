// Who is told of an event: the contract says what they must hold, and whose it is.
import { type DescMessage, fromBinary } from "@bufbuild/protobuf";
import { eventContract, registry } from "@warren/contract";
import type { AnyEvent } from "@warren/mesh";
import { holds } from "../identity/authorize.ts";
import type { Identity } from "../identity/identity.ts";

/** Where the contracts define events: each message there is one. */
const PACKAGE = "warren.events.v1";

/** Events with a scope, by the full name of their message. One without is told to nobody outside. */
interface Rule {
  readonly scope: string;
  readonly owner: { readonly type: DescMessage; readonly field: string } | undefined;
}

const rules: ReadonlyMap<string, Rule> = new Map(
  [...registry].flatMap((type): [string, Rule][] => {
    if (type.kind !== "message" || type.parent || type.file.proto.package !== PACKAGE) return [];
    const { scope, ownerField } = eventContract(type.typeName);
    if (scope === "") return [];
    const field = type.fields.find((each) => each.name === ownerField)?.localName;
    if (ownerField !== "" && field === undefined)
      throw new Error(`${type.typeName}: owner_field ${ownerField} is not a field of it`);
    return [[type.typeName, { scope, owner: field === undefined ? undefined : { type, field } }]];
  }),
);

/** The families of events that anybody outside may be told of: `plugin` of `plugin.installed`. */
export const visibleFamilies: readonly string[] = [
  ...new Set([...rules.keys()].map((typeName) => eventContract(typeName).name.split(".")[0] ?? "")),
].sort();

/** Tells of one event whom it may be told; what it is about is read once, however many ask. */
export function audienceOf({ typeName, data }: Pick<AnyEvent, "typeName" | "data">): (identity: Identity) => boolean {
  const rule = typeName === undefined ? undefined : rules.get(typeName);
  if (rule === undefined) return () => false;
  const { scope, owner } = rule;
  if (owner === undefined) return (identity) => holds(identity, scope);
  const whose = ownerIn(owner, data);
  return (identity) => whose !== "" && identity.principal === whose && holds(identity, scope);
}

function ownerIn({ type, field }: NonNullable<Rule["owner"]>, data: Uint8Array): string {
  try {
    const value = (fromBinary(type, data) as unknown as Record<string, unknown>)[field];
    return typeof value === "string" ? value : "";
  } catch {
    // Not what its subject says it is: nobody's.
    return "";
  }
}
