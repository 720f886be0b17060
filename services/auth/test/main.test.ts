// The service as a process of its own.
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { jsonCodec } from "@warren/mesh";
import { AuthServiceDefinition } from "@warren/proto/warren/auth/v1/auth";
import { startNats, type TestNats, waitUntil } from "@warren/testing";
import type { CredentialRecord } from "../src/tokens/credentials.ts";
import { newDevice } from "./support/device.ts";

interface Process {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ready: Promise<boolean>;
}

function startProcess(t: TestContext, nats: TestNats, env: Record<string, string>): Process {
  const child = fork(join(import.meta.dirname, "../src/main.ts"), {
    env: { PATH: "", WARREN_NATS_URL: nats.url, WARREN_MESH_CREDENTIALS: nats.credentialsFile("auth"), ...env },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const ready = Promise.race([once(child, "message").then(() => true), once(child, "exit").then(() => false)]);
  t.after(() => child.kill("SIGKILL"));
  return { child, output: () => output, ready };
}

test("the service starts, serves, shows the code where it is told to, and stops on SIGTERM", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "warren-auth-"));
  t.after(() => rm(folder, { recursive: true }));
  const nats = await startNats(t);
  const file = join(folder, "operator-token");
  const auth = startProcess(t, nats, { WARREN_OPERATOR_TOKEN_FILE: file, WARREN_PAIRING_SHOW_CODE_IN_LOG: "true" });
  assert.ok(await auth.ready, auth.output());

  const gateway = await nats.connect("gateway");
  const anonymous = { principal: "anonymous", tenant: "default", scopes: [], expiresAt: Date.now() + 60_000 };
  const options = { assertion: gateway.assert(anonymous) };
  const client = gateway.client(AuthServiceDefinition);
  const device = newDevice();
  const request = { deviceName: "Laptop", publicKey: device.publicKey, scopes: [] };
  const { id, challenge } = await client.startPairing(request, options);
  const code = await waitUntil("The code in the log", 5000, () => {
    const [, first, second] = /The pairing code for \\"Laptop\\" is (\w{4})-(\w{4})/.exec(auth.output()) ?? [];
    return first && second && first + second;
  });
  const signature = device.prove(challenge, code, id);
  const grant = await client.completePairing({ id, code, signature, totp: "" }, options);

  const token = (await readFile(file, "utf8")).trim();
  const credentials = await gateway.kvView("auth_credentials", jsonCodec<CredentialRecord>());
  assert.equal((await credentials.get(token.split("_")[1] ?? ""))?.value.principal, "operator");
  for (const secret of [token, grant.accessToken, grant.refreshToken]) assert.ok(!auth.output().includes(secret));

  auth.child.kill("SIGTERM");
  assert.deepEqual(await once(auth.child, "exit"), [0, null]);
});

test("the service does not start with an operator's token that others may have read, and says so", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "warren-auth-"));
  t.after(() => rm(folder, { recursive: true }));
  const nats = await startNats(t);
  const env = { WARREN_OPERATOR_TOKEN_FILE: join(folder, "operator-token") };
  const first = startProcess(t, nats, env);
  assert.ok(await first.ready, first.output());
  await chmod(env.WARREN_OPERATOR_TOKEN_FILE, 0o644);
  const second = startProcess(t, nats, env);
  await waitUntil(
    "The reason",
    20_000,
    () => second.output().includes("has mode 0644: others may have read it") || undefined,
  );
  assert.ok(!second.output().includes('"Ready"'));
});
