// The accounts of a mesh, as nats-server's configuration has them: one for each service, and one for the records.
import { type Crossing, crossings, type ServiceCrossing } from "./crossings.ts";
import { RECORDS } from "./names.ts";
import { permissionsOf } from "./permissions.ts";
import { type ServicePolicy, services, state } from "./policy.ts";

/**
 * The block `accounts`.
 * @param publicKeys Public nkeys by service name. A service without one has an account that nobody can use.
 * @throws Error when a key belongs to no service of the policy.
 */
export function accountsBlock(publicKeys: Readonly<Record<string, string>>): object {
  const policies: Readonly<Record<string, ServicePolicy>> = services;
  const stranger = Object.keys(publicKeys).find((name) => !policies[name]);
  if (stranger !== undefined) throw new Error(`The mesh's policy has no service ${stranger}`);
  const crossing = crossings();
  const accounts = Object.entries(policies).map(([name, policy]) => {
    const keepsState = policy.owns.some((key) => state[key].kind !== "events");
    return [
      name,
      {
        ...(keepsState ? { jetstream: "enabled" } : {}),
        users: usersOf(name, policy, publicKeys[name]),
        ...ends(name, crossing),
      },
    ] as const;
  });
  return { ...Object.fromEntries(accounts), [RECORDS]: { jetstream: "enabled", ...ends(RECORDS, crossing) } };
}

function usersOf(name: string, policy: ServicePolicy, nkey: string | undefined): object[] {
  if (nkey === undefined) return [];
  const { publish, subscribe } = permissionsOf(name, policy);
  return [{ nkey, permissions: { publish: { allow: publish }, subscribe: { allow: subscribe } } }];
}

/** An account's ends of what crosses: what it lets others have, and what it takes of them. */
function ends(account: string, crossing: readonly Crossing[]): { exports: object[]; imports: object[] } {
  // The end that exports is where messages of a stream come from, and where requests are answered.
  const exporterOf = (each: Crossing): string => (each.kind === "stream" ? each.from : each.to);
  const importerOf = (each: Crossing): string => (each.kind === "stream" ? each.to : each.from);
  const exported = Map.groupBy(
    crossing.filter((each) => exporterOf(each) === account),
    ({ kind, subject }) => `${kind} ${subject}`,
  );
  return {
    exports: [...exported.values()].map(([first, ...more]) => {
      const { kind, subject } = first as Crossing;
      const accounts = [first as Crossing, ...more].map(importerOf);
      return { [kind]: subject, accounts, ...(answersMany(first as Crossing) ? { response_type: "stream" } : {}) };
    }),
    imports: crossing
      .filter((each) => importerOf(each) === account)
      .map((each) => ({
        [each.kind]: { account: exporterOf(each), subject: each.subject },
        ...(each.kind === "service" && each.as !== each.subject ? { to: each.as } : {}),
      })),
  };
}

function answersMany(crossing: Crossing): crossing is ServiceCrossing {
  return crossing.kind === "service" && crossing.manyAnswers === true;
}
