// The wire protocol from the other side: a client in another language, in a process of its own, against services that
// speak it with @warren/mesh, and against one that breaks it.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createPrivateKey, createPublicKey, randomBytes, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import test, { type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { connect, type Msg, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import { type CallContext, type Handlers, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, startNatsCluster, type TestNats, waitUntil } from "@warren/testing";

const SCRIPT = fileURLToPath(new URL("./mesh_client.py", import.meta.url));
const SECRETS = "warren.secrets.v1.SecretsService";
const AGENT = "warren.agent.v1.AgentService";
const PLUGINS = "warren.plugins.v1.PluginService";
const WINDOW_FRAMES = 256;

/** A line that the script printed. */
type Said = Record<string, unknown>;

/** The script, running. */
interface Client {
  /** The next line. */
  said(): Promise<Said>;
  /** Lets a script that waits go on. */
  goOn(): void;
}

type Servers = Pick<TestNats, "url" | "credentialsFile">;

/** Runs a scenario; whatever it prints to stderr fails the test. */
function python(t: TestContext, nats: Servers, scenario: object, service = "gateway"): Client {
  const args = ["-B", "-X", "dev", SCRIPT, nats.url, nats.credentialsFile(service), JSON.stringify(scenario)];
  const child = spawn("python3", args, { stdio: ["pipe", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let problems = "";
  child.stderr.on("data", (chunk: Buffer) => (problems += chunk.toString()));
  child.on("error", (error) => (problems += error.message));
  t.after(async () => {
    child.stdin.end();
    // Python's development mode tells on stderr where it was.
    const force = setTimeout(() => child.kill("SIGABRT"), 10_000);
    const code = await ended;
    clearTimeout(force);
    assert.equal(problems, "");
    assert.equal(code, 0);
  });
  return {
    goOn: () => void child.stdin.write("\n"),
    said: async () => {
      const line = await lines.next();
      if (line.done) throw new Error(`The script ended: ${problems}`);
      return JSON.parse(line.value) as Said;
    },
  };
}

/** A bare NATS connection that holds a service's credential. */
async function rawConnection(t: TestContext, nats: TestNats, service: string): Promise<NatsConnection> {
  const { seed } = JSON.parse(readFileSync(nats.credentialsFile(service), "utf8")) as { seed: string };
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  const connection = await connect({ servers: nats.url, authenticator, inboxPrefix: `_INBOX.${service}` });
  t.after(() => connection.close());
  return connection;
}

/** Keeps the messages to a subject. */
async function listen(connection: NatsConnection, subject: string): Promise<Msg[]> {
  const messages: Msg[] = [];
  connection.subscribe(subject, { callback: (_, message) => void messages.push(message) });
  await connection.flush();
  return messages;
}

function serveSecrets(mesh: Mesh, getSecret: Handlers<typeof SecretsServiceDefinition>["getSecret"]): Promise<void> {
  const rest = new Proxy({ getSecret } as Handlers<typeof SecretsServiceDefinition>, {
    get: (given, name) => given[name as keyof typeof given] ?? (() => Promise.resolve({})),
  });
  return mesh.serve(SecretsServiceDefinition, rest);
}

/** Resolves when the call is over before its time, with why. */
function aborted({ signal }: CallContext): Promise<RpcError> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(signal.reason as RpcError)));
}

test("a unary call from Python", async (t) => {
  const nats = await startNats(t);
  const secrets = await nats.connect("secrets");
  const calls: CallContext[] = [];
  const endings: RpcError[] = [];
  await serveSecrets(secrets, async ({ name }, ctx) => {
    calls.push(ctx);
    if (name === "refuse")
      throw new RpcError(StatusCode.FAILED_PRECONDITION, "nicht möglich", {
        reason: "NOT_NOW",
        metadata: { since: "Tuesday" },
        retryAfterMs: 1500,
      });
    if (name === "slow") endings.push(await aborted(ctx));
    return { name, value: "geheim: ü" };
  });
  const call = (scenario: object, service?: string): Promise<Said> =>
    python(t, nats, { run: "call", method: `${SECRETS}/GetSecret`, ...scenario }, service).said();

  await t.test("is answered, and brings deadline, idempotency key and the service's own assertion", async () => {
    const { answer } = await call({ texts: ["a"], timeout: 5, idempotency_key: "k 1/ü" });
    assert.deepEqual(answer, { 1: "a", 3: "geheim: ü" });
    const ctx = calls.at(-1);
    assert.equal(ctx?.idempotencyKey, "k 1/ü");
    assert.equal(ctx?.attempt, 1);
    assert.equal(ctx?.caller.principal, "service:gateway");
    const remaining = (ctx?.deadline ?? 0) - performance.now();
    assert.ok(remaining > 0 && remaining <= 5000, `${remaining} ms remain of 5000`);
  });
  await t.test("that breaks the contract fails with the fields that do", async () => {
    const { code, violations } = await call({});
    assert.equal(code, "INVALID_ARGUMENT");
    assert.deepEqual(
      (violations as { field: string }[]).map(({ field }) => field),
      ["name"],
    );
  });
  await t.test("that the handler refuses fails with what the handler said", async () => {
    const { seconds: _, ...error } = await call({ texts: ["refuse"] });
    assert.deepEqual(error, {
      code: "FAILED_PRECONDITION",
      message: "nicht möglich",
      reason: "NOT_NOW",
      metadata: { since: "Tuesday" },
      violations: [],
      retry_after: 1.5,
    });
  });
  await t.test("ends at its deadline on both sides", async () => {
    const { code, seconds } = await call({ texts: ["slow"], timeout: 0.3 });
    assert.equal(code, "DEADLINE_EXCEEDED");
    assert.ok((seconds as number) >= 0.3 && (seconds as number) < 1.5, `${String(seconds)} s`);
    const ending = await waitUntil("the handler's end", 5000, () => endings.shift());
    assert.equal(ending.code, StatusCode.DEADLINE_EXCEEDED);
  });
  await t.test("that is cancelled reaches the handler", async () => {
    const before = calls.length;
    const client = python(t, nats, { run: "cancel", method: `${SECRETS}/GetSecret` });
    await waitUntil("the call", 10_000, () => (calls.length > before ? true : undefined));
    client.goOn();
    assert.deepEqual(await client.said(), { cancelled: true });
    const ending = await waitUntil("the handler's end", 5000, () => endings.shift());
    assert.equal(ending.code, StatusCode.CANCELLED);
  });
  await t.test("to a service that nobody serves is UNAVAILABLE", async () => {
    const { code, reason } = await call({ method: "warren.auth.v1.AuthService/ListDevices" });
    assert.deepEqual([code, reason], ["UNAVAILABLE", "NO_RESPONDERS"]);
  });
  await t.test("that the mesh's policy does not allow fails at once, and the connection lives on", async () => {
    const { code, reason, seconds } = await call({ method: "warren.nowhere.v1.NoService/Nothing" });
    assert.deepEqual([code, reason], ["PERMISSION_DENIED", "POLICY"]);
    assert.ok((seconds as number) < 1);
  });
  await t.test("that is too large is not sent", async () => {
    const before = calls.length;
    const { code, reason } = await call({ texts: ["x".repeat(60_000)], repeat: 18 });
    assert.deepEqual([code, reason], ["RESOURCE_EXHAUSTED", "TOO_LARGE"]);
    assert.equal(calls.length, before);
  });
  await t.test("for a user is made in the user's name, with the user's scopes", async () => {
    const user = { principal: "device:dü1", device: "dü1", scopes: ["secrets:read"], address: "192.0.2.7" };
    assert.deepEqual((await call({ texts: ["a"], user }))["answer"], { 1: "a", 3: "geheim: ü" });
    const { expiresAt: _, ...caller } = calls.at(-1)?.caller ?? { expiresAt: 0 };
    assert.deepEqual(caller, { ...user, tenant: "default" });
    const { code, reason, metadata } = await call({ method: `${SECRETS}/PutSecret`, texts: ["a", "b"], user });
    assert.deepEqual([code, reason], ["PERMISSION_DENIED", "SCOPE_MISSING"]);
    assert.deepEqual(metadata, { scope: "secrets:write" });
  });
  await t.test("for a user is refused when the assertion has expired, or its service may not make it", async () => {
    const user = { principal: "device:d1", scopes: ["secrets:read"] };
    const before = calls.length;
    const expired = await call({ texts: ["a"], user: { ...user, expires_at: Date.now() / 1000 - 60 } });
    const forged = await call({ texts: ["a"], user }, "plugin-host");
    for (const { code, reason } of [expired, forged])
      assert.deepEqual([code, reason], ["UNAUTHENTICATED", "CALLER_REFUSED"]);
    assert.match(String(expired["message"]), /expired/);
    assert.match(String(forged["message"]), /may not speak/);
    assert.equal(calls.length, before);
  });
  await t.test("fails at once when NATS goes, and so does every later one", async () => {
    const before = calls.length;
    const client = python(t, nats, { run: "lost" });
    await waitUntil("the calls", 10_000, () => (calls.length === before + 2 ? true : undefined));
    await nats.kill();
    for (const said of [await client.said(), await client.said(), await client.said()])
      assert.deepEqual([said["code"], said["reason"]], ["UNAVAILABLE", "DISCONNECTED"]);
  });
});

test("a long unary call from Python goes on as long as a replica says that it works on it", async (t) => {
  const nats = await startNats(t);
  const secrets = await nats.connect("secrets");
  const gate = Promise.withResolvers<void>();
  await serveSecrets(secrets, async ({ name }) => {
    await gate.promise;
    return { name };
  });
  const probes = await listen(await rawConnection(t, nats, "secrets"), `mesh.${SECRETS}._probe`);
  const client = python(t, nats, { run: "call", method: `${SECRETS}/GetSecret`, texts: ["a"], timeout: 30 });
  // One more than may go without an answer.
  await waitUntil("four probes", 20_000, () => (probes.length >= 4 ? true : undefined));
  gate.resolve();
  assert.deepEqual((await client.said())["answer"], { 1: "a" });
});

test("a unary call from Python whose replica is gone is lost, not left to its deadline", async (t) => {
  const nats = await startNats(t);
  const secrets = await nats.connect("secrets");
  const taken = Promise.withResolvers<void>();
  await serveSecrets(secrets, () => {
    taken.resolve();
    return new Promise(() => undefined);
  });
  const client = python(t, nats, { run: "call", method: `${SECRETS}/GetSecret`, texts: ["a"], timeout: 30 });
  await taken.promise;
  await secrets.close();
  const { code, reason, seconds } = await client.said();
  assert.deepEqual([code, reason], ["UNAVAILABLE", "CALL_LOST"]);
  assert.ok((seconds as number) < 10);
});

test("a keyed call from Python goes to who holds the key, else to anybody", async (t) => {
  const nats = await startNats(t);
  const [holder, other] = await Promise.all([nats.connect("plugin-host"), nats.connect("plugin-host")]);
  const served: string[] = [];
  const handlers = (name: string): Handlers<typeof PluginServiceDefinition> =>
    new Proxy({} as Handlers<typeof PluginServiceDefinition>, {
      get: () => () => {
        served.push(name);
        return Promise.resolve({});
      },
    });
  await other.serve(PluginServiceDefinition, handlers("other"));
  await holder.serve(PluginServiceDefinition, handlers("holder"));
  await holder.stepAside();
  await holder.serveKey(PluginServiceDefinition, "callTool", "clock");
  const call = (key: string): Promise<Said> =>
    python(t, nats, { run: "call", method: `${PLUGINS}/CallTool`, texts: [key, "now"], key }).said();
  assert.deepEqual((await call("clock"))["answer"], {});
  assert.deepEqual((await call("nobody"))["answer"], {});
  assert.deepEqual(served, ["holder", "other"]);
  assert.equal((await call("a.b"))["code"], "INVALID_ARGUMENT");
  assert.equal(served.length, 2);
});

test("a stream to Python", async (t) => {
  const nats = await startNats(t);
  const agent = await nats.connect("agent");
  const state = { written: 0, ended: 0 };
  const handlers: Partial<Handlers<typeof AgentServiceDefinition>> = {
    async *streamChat({ message }, ctx: CallContext) {
      try {
        const [kind, count = "0"] = message.split(" ");
        const text = kind === "large" ? "x".repeat(2_500_000) : "t";
        for (let i = 1; i <= Number(count); i++) {
          state.written = i;
          yield { sequence: i, event: { $case: "text", value: { text } } };
        }
        if (kind === "fail") throw new RpcError(StatusCode.ABORTED, "no more", { reason: "ENOUGH" });
        if (kind === "wait") await aborted(ctx);
      } finally {
        state.ended += 1;
      }
    },
  };
  await agent.serve(AgentServiceDefinition, handlers as Handlers<typeof AgentServiceDefinition>);
  const stream = (scenario: object): Client => python(t, nats, { run: "stream", ...scenario });

  await t.test("arrives whole and in order", async () => {
    const { count, ordered } = await stream({ message: "small 5000" }).said();
    assert.deepEqual([count, ordered], [5000, true]);
  });
  await t.test("of messages larger than NATS carries arrives whole", async () => {
    const { count, ordered, bytes } = await stream({ message: "large 3" }).said();
    assert.deepEqual([count, ordered], [3, true]);
    assert.ok((bytes as number) > 7_500_000);
  });
  await t.test("that has nothing to say ends well", async () => {
    assert.equal((await stream({ message: "none" }).said())["count"], 0);
  });
  await t.test("stops its writer while its reader does not read, and goes on when it does", async () => {
    const client = stream({ message: "small 5000", pause_after: 1 });
    assert.deepEqual(await client.said(), { paused: true });
    let before = -1;
    await waitUntil("the writer's halt", 5000, async () => {
      if (before === state.written) return true;
      before = state.written;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return undefined;
    });
    assert.ok(state.written <= 2 * WINDOW_FRAMES, `${state.written} frames were written for one that was read`);
    client.goOn();
    const { count, ordered } = await client.said();
    assert.deepEqual([count, ordered], [5000, true]);
  });
  await t.test("ends with the handler's error after what came before it", async () => {
    const { count, code, reason } = await stream({ message: "fail 3" }).said();
    assert.deepEqual([count, code, reason], [3, "ABORTED", "ENOUGH"]);
  });
  await t.test("whose reader leaves ends its handler", async () => {
    const before = state.ended;
    const client = stream({ message: "wait 3", leave_after: 2 });
    assert.equal((await client.said())["count"], 2);
    await waitUntil("the handler's end", 5000, () => (state.ended > before ? true : undefined));
  });
  await t.test("ends at its deadline on both sides", async () => {
    const before = state.ended;
    const { count, code } = await stream({ message: "wait 1", timeout: 0.5 }).said();
    assert.deepEqual([count, code], [1, "DEADLINE_EXCEEDED"]);
    await waitUntil("the handler's end", 5000, () => (state.ended > before ? true : undefined));
  });
  await t.test("is refused before it begins when the scope is missing", async () => {
    const user = { principal: "device:d1", scopes: ["sessions:read"] };
    const { count, code, reason } = await stream({ message: "small 1", user }).said();
    assert.deepEqual([count, code, reason], [0, "PERMISSION_DENIED", "SCOPE_MISSING"]);
  });
});

test("a stream to Python whose service breaks the protocol", { concurrency: true }, async (t) => {
  const frame = (kind: number, sequence?: number, payload = ""): Buffer => {
    const number = Buffer.alloc(sequence === undefined ? 0 : 4);
    if (sequence !== undefined) number.writeUInt32BE(sequence);
    return Buffer.concat([Buffer.from([kind]), number, Buffer.from(payload, "latin1")]);
  };
  const event = (sequence: number): Buffer => frame(2, sequence, `\x08${String.fromCharCode(sequence)}`);
  /** Answers the one call of a client with frames; what it hears on the control inbox and on `_cancel`. */
  const hostile = async (t: TestContext, frames: readonly Buffer[], timeout = 30) => {
    const nats = await startNats(t);
    const raw = await rawConnection(t, nats, "agent");
    const control = await listen(raw, "_INBOX.agent.control");
    const cancelled = await listen(raw, `mesh.${AGENT}._cancel`);
    const requests = await listen(raw, `mesh.${AGENT}.StreamChat`);
    const client = python(t, nats, { run: "stream", message: "any", timeout });
    const reply = await waitUntil("the request", 10_000, () => requests[0]?.reply);
    for (const each of frames) raw.publish(reply, each, each[0] === 1 ? { reply: "_INBOX.agent.control" } : {});
    return { said: await client.said(), control, cancelled, reply };
  };
  const cancels = (messages: readonly Msg[]): true | undefined =>
    messages.some(({ data }) => data[0] === 8) || undefined;

  await t.test("by a gap fails with DATA_LOSS and is cancelled", async (t) => {
    const { said, control } = await hostile(t, [frame(1), event(1), event(3)]);
    assert.deepEqual([said["count"], said["code"]], [1, "DATA_LOSS"]);
    await waitUntil("the cancellation", 5000, () => cancels(control));
  });
  await t.test("by what is no frame fails with DATA_LOSS and is cancelled", async (t) => {
    const { said, control } = await hostile(t, [frame(1), event(1), frame(99)]);
    assert.deepEqual([said["count"], said["code"]], [1, "DATA_LOSS"]);
    await waitUntil("the cancellation", 5000, () => cancels(control));
  });
  await t.test("by a batch that is cut short fails with DATA_LOSS and is cancelled", async (t) => {
    const { said, control } = await hostile(t, [frame(1), event(1), frame(9, 2, "\0\0\0\x02\x08\x02\0\0\0\x03\x08")]);
    assert.deepEqual([said["count"], said["code"]], [1, "DATA_LOSS"]);
    await waitUntil("the cancellation", 5000, () => cancels(control));
  });
  await t.test("by an error that cannot be read fails all the same", async (t) => {
    const { said } = await hostile(t, [frame(1), Buffer.from([5, 0x1a, 0xff])]);
    assert.equal(said["code"], "INTERNAL");
  });
  await t.test("by never taking the call is cancelled by its name", async (t) => {
    const { said, cancelled, reply } = await hostile(t, [], 0.5);
    assert.equal(said["code"], "DEADLINE_EXCEEDED");
    const message = await waitUntil("the cancellation", 5000, () => cancelled[0]);
    assert.equal(message.string(), reply);
  });
  await t.test("by silence is given up, after having said that it is there itself", async (t) => {
    const { said, control } = await hostile(t, [frame(1), event(1)]);
    assert.deepEqual([said["count"], said["code"], said["reason"]], [1, "UNAVAILABLE", "STREAM_LOST"]);
    await waitUntil("the cancellation", 5000, () => cancels(control));
    assert.ok(control.filter(({ data }) => data[0] === 6).length >= 3);
  });
});

test("Python joins by TLS only with who it trusts, and by plain text only where there is no TLS", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "warren-tls-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [keyFile, certFile] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=warren test", "-addext", "subjectAltName=IP:127.0.0.1"];
  const self = ["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-keyout", keyFile, "-out", certFile];
  try {
    execFileSync("openssl", [...self, ...subject], { stdio: "ignore" });
  } catch {
    return t.skip("openssl, which makes the certificate, is not installed");
  }
  const cluster = await startNatsCluster(t, 1, { tls: { keyFile, certFile, caFile: certFile } });
  const joinBy = (url: string, ca?: string): Promise<Said> => {
    const servers = { url, credentialsFile: (service: string) => cluster.credentialsFile(service) };
    return python(t, servers, { run: "call", method: `${SECRETS}/GetSecret`, texts: ["a"], ca }).said();
  };
  const plain = cluster.urls[0] ?? "";
  const tls = plain.replace("nats:", "tls:");
  assert.equal((await joinBy(tls, certFile))["reason"], "NO_RESPONDERS");
  assert.match(String((await joinBy(tls))["failed"]), /UNAVAILABLE: .*certificate verify failed/);
  assert.match(String((await joinBy(plain))["failed"]), /wants TLS/);
  const nats = await startNats(t);
  const weak = { ...nats, url: nats.url.replace("nats:", "tls:") };
  const { failed } = await python(t, weak, { run: "call", method: `${SECRETS}/GetSecret` }).said();
  assert.match(String(failed), /has no TLS/);
});

test("Python is refused by NATS with a key that is not its service's", async (t) => {
  const nats = await startNats(t);
  const folder = mkdtempSync(join(tmpdir(), "warren-python-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "credential.json");
  const failure = async (credential: unknown): Promise<string> => {
    writeFileSync(file, JSON.stringify(credential), { mode: 0o600 });
    const client = python(t, { ...nats, credentialsFile: () => file }, { run: "call", method: `${SECRETS}/GetSecret` });
    return String((await client.said())["failed"]);
  };
  const other = await startNats(t);
  assert.match(
    await failure(JSON.parse(readFileSync(other.credentialsFile("gateway"), "utf8"))),
    /UNAVAILABLE: .*Auth/,
  );
  const own = JSON.parse(readFileSync(nats.credentialsFile("gateway"), "utf8")) as { seed: string };
  const misspelt = `${own.seed.slice(0, 20)}${own.seed[20] === "A" ? "B" : "A"}${own.seed.slice(21)}`;
  const said = await failure({ ...own, seed: misspelt });
  assert.match(said, /no user seed/);
  assert.ok(!said.includes(misspelt.slice(4, 24)), "a seed does not stand in an error");
  assert.match(await failure({ service: "gateway" }), /no mesh credential/);
});

test("Python signs as RFC 8032 says", async (t) => {
  const seed = randomBytes(32);
  const messages = [0, 1, 63, 64, 127, 128, 1000].map((size) => randomBytes(size));
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const nowhere = { url: "", credentialsFile: () => "" };
  const hex = messages.map((each) => each.toString("hex"));
  const said = await python(t, nowhere, { run: "sign", seed: seed.toString("hex"), messages: hex }).said();
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
  assert.equal(said["public_key"], publicKey.toString("hex"));
  assert.deepEqual(
    said["signatures"],
    messages.map((each) => sign(null, each, key).toString("hex")),
  );
});

test("the package is Python 3.9 and imports the standard library only", () => {
  const folder = fileURLToPath(new URL("../warren_mesh", import.meta.url));
  const check = `
import ast, pathlib, sys
foreign = set()
for path in pathlib.Path(sys.argv[1]).glob("*.py"):
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 9))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        foreign.update(name for name in names if name.split(".")[0] not in sys.stdlib_module_names)
print(",".join(sorted(foreign)))`;
  assert.equal(execFileSync("python3", ["-c", check, folder], { encoding: "utf8" }), "\n");
});
