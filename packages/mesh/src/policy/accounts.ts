// The accounts of a mesh, as nats-server's configuration has them: one for each service, one for the records, and one for
// who observes.
import { type Crossing, crossings, type ServiceCrossing } from "./crossings.ts";
import { RECORDS } from "./names.ts";
import { type NatsPermissions, observerPermissions, permissionsOf } from "./permissions.ts";
import { OBSERVER, type ServicePolicy, services, state } from "./policy.ts";

/**
 * The block `accounts`.
 * @param publicKeys Public nkeys by the name of a service or the observer. Without one an account can be used by nobody.
 * @throws Error when a key belongs to no service of the policy.
 */
export function accountsBlock(publicKeys: Readonly<Record<string, string>>): object {
  const policies: Readonly<Record<string, ServicePolicy>> = services;
  const stranger = Object.keys(publicKeys).find((name) => !policies[name] && name !== OBSERVER);
  if (stranger !== undefined) throw new Error(`The mesh's policy has no service ${stranger}`);
  const crossing = crossings();
  const accounts = Object.entries(policies).map(([name, policy]) => {
    const keepsState = policy.owns.some((key) => state[key].kind !== "events");
    return [
      name,
      {
        ...(keepsState ? { jetstream: "enabled" } : {}),
        users: usersOf(publicKeys[name], permissionsOf(name, policy)),
        ...ends(name, crossing),
      },
    ] as const;
  });
  return {
    ...Object.fromEntries(accounts),
    [RECORDS]: { jetstream: "enabled", ...ends(RECORDS, crossing) },
    [OBSERVER]: { users: usersOf(publicKeys[OBSERVER], observerPermissions), ...ends(OBSERVER, crossing) },
  };
}

function usersOf(nkey: string | undefined, { publish, subscribe }: NatsPermissions): object[] {
  if (nkey === undefined) return [];
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
