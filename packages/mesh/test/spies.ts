// Listeners in every account of a mesh that hear everything there, for tests of what arrives where: no mesh has such users.
import { randomBytes } from "node:crypto";
import type { TestContext } from "node:test";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { startNatsCluster, type TestNatsCluster } from "@warren/testing";

/** Who hears what arrives in one account. */
export interface Spy {
  readonly account: string;
  /** Subjects of messages, in the order in which they came. */
  readonly heard: string[];
  /** Listens to each of these subjects, beside all. */
  listen(subjects: readonly string[]): Promise<void>;
  /** Resolves when what the server has sent so far has been heard. */
  flush(): Promise<void>;
}

/** A server with a spy in each account. */
export async function startSpiedNats(t: TestContext): Promise<{ nats: TestNatsCluster; spies: readonly Spy[] }> {
  const password = randomBytes(16).toString("hex");
  let accounts: readonly string[] = [];
  const amend = (text: string): string => {
    const config = JSON.parse(text) as { accounts: Record<string, { users?: object[] }> };
    accounts = Object.keys(config.accounts);
    for (const [name, account] of Object.entries(config.accounts)) {
      const permissions = { publish: { deny: [">"] }, subscribe: { allow: [">"] } };
      account.users = [...(account.users ?? []), { user: `spy-${name}`, password, permissions }];
    }
    return JSON.stringify(config);
  };
  const nats = await startNatsCluster(t, 1, { amend });
  const spies = accounts.map(async (account) => {
    const user = { user: `spy-${account}`, pass: password };
    const connection = await connect({ servers: nats.urls[0] as string, ...user, noAsyncTraces: true });
    t.after(() => connection.close());
    return listen(account, connection);
  });
  return { nats, spies: await Promise.all(spies) };
}

async function listen(account: string, connection: NatsConnection): Promise<Spy> {
  const heard: string[] = [];
  const hear = (subjects: readonly string[]): Promise<void> => {
    for (const each of subjects) connection.subscribe(each, { callback: (_, { subject }) => void heard.push(subject) });
    return connection.flush();
  };
  await hear([">"]);
  return { account, heard, listen: hear, flush: () => connection.flush() };
}
