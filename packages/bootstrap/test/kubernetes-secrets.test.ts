import assert from "node:assert/strict";
import test from "node:test";
import { ensureSecrets, type EnsureSecretsOptions, inClusterApi, partNames } from "@warren/bootstrap";
import { OBSERVER } from "@warren/mesh/policy";
import { type Secret, secretsApi, type Transport } from "../src/kubernetes-api.ts";

/** The Secrets part of an API server, which counts versions as it does. */
class Server {
  readonly secrets = new Map<string, Secret>();
  /** What was asked, as `GET name`. */
  readonly asked: string[] = [];
  /** Called before each request is answered. */
  before: (request: string) => void = () => undefined;
  #version = 0;

  send: Transport = (method, path, body) => {
    const secret = body as Secret | undefined;
    const name = secret?.metadata.name ?? decodeURIComponent(path.split("/").at(-1) ?? "");
    this.asked.push(`${method} ${name}`);
    this.before(`${method} ${name}`);
    assert.ok(path.startsWith("/api/v1/namespaces/mesh/secrets"));
    const found = this.secrets.get(name);
    if (method === "GET") return answer(found ? 200 : 404, found);
    if (!secret) return answer(400);
    if (method === "POST") return found ? answer(409) : this.keep(secret, 201);
    if (!found) return answer(404);
    return secret.metadata.resourceVersion === found.metadata.resourceVersion ? this.keep(secret, 200) : answer(409);
  };

  keep(secret: Secret, status: number): ReturnType<Transport> {
    const resourceVersion = String(++this.#version);
    this.secrets.set(secret.metadata.name, { ...secret, metadata: { ...secret.metadata, resourceVersion } });
    return answer(status, secret);
  }

  data(name: string): Readonly<Record<string, string>> {
    return this.secrets.get(name)?.data ?? {};
  }
}

function answer(status: number, body: unknown = {}): ReturnType<Transport> {
  return Promise.resolve({ status, text: JSON.stringify(body) });
}

function ensure(
  server: Server,
  except: string[] = [],
  generations: EnsureSecretsOptions["generations"] = {},
): Promise<string[]> {
  const labels = { "app.kubernetes.io/instance": "warren" };
  return ensureSecrets({ api: secretsApi("mesh", server.send), prefix: "warren", labels, except, generations });
}

test("a Secret a part, and one that no pod mounts", async () => {
  const server = new Server();
  const written = await ensure(server);
  assert.deepEqual(written.sort(), ["bootstrap", ...partNames()].map((part) => `warren-${part}`).sort());
  assert.deepEqual(Object.keys(server.data("warren-auth")).sort(), ["mesh.json", "operator-token"]);
  assert.deepEqual(server.secrets.get("warren-auth")?.metadata.labels, { "app.kubernetes.io/instance": "warren" });
});

test("run again, it only reads; what is lost or differs comes back the same", async () => {
  const server = new Server();
  await ensure(server);
  const before = server.data("warren-agent");
  server.asked.length = 0;
  assert.deepEqual(await ensure(server), []);
  assert.ok(server.asked.every((request) => request.startsWith("GET ")));
  server.secrets.delete("warren-agent");
  const auth = server.secrets.get("warren-auth");
  assert.ok(auth);
  await server.keep({ ...auth, data: { ...auth.data, "operator-token": "b3RoZXI=", mine: "eA==" } }, 200);
  assert.deepEqual((await ensure(server)).sort(), ["warren-agent", "warren-auth"]);
  assert.deepEqual(server.data("warren-agent"), before);
  assert.equal(server.data("warren-auth")["mine"], "eA==", "what a person added stays");
});

test("a member that was taken out of the material is made anew, with what follows from it", async () => {
  const server = new Server();
  await ensure(server);
  const whole = server.secrets.get("warren-bootstrap");
  assert.ok(whole);
  const { redis, ...rest } = JSON.parse(Buffer.from(whole.data?.["material.json"] ?? "", "base64").toString()) as {
    redis: string;
  };
  assert.ok(redis);
  const data = { "material.json": Buffer.from(JSON.stringify(rest)).toString("base64") };
  await server.keep({ ...whole, data }, 200);
  assert.deepEqual((await ensure(server)).sort(), ["warren-bootstrap", "warren-gateway", "warren-redis"]);
});

test("a kind is made anew once when its word changes, and by no other change", async () => {
  const server = new Server();
  await ensure(server);
  assert.deepEqual(await ensure(server, [], { redis: "1", mesh: "1" }), ["warren-bootstrap"], "a first word is noted");
  const before = server.data("warren-gateway");
  assert.deepEqual((await ensure(server, [], { redis: "2", mesh: "1" })).sort(), [
    "warren-bootstrap",
    "warren-gateway",
    "warren-redis",
  ]);
  assert.notEqual(server.data("warren-gateway")["redis-password"], before["redis-password"]);
  assert.equal(server.data("warren-gateway")["mesh.json"], before["mesh.json"]);
  assert.deepEqual(await ensure(server, [], { redis: "2", mesh: "1" }), []);
});

test("parts whose Secrets others bring are not touched", async () => {
  const server = new Server();
  await ensure(server, ["redis", "secrets"]);
  assert.ok(server.asked.every((request) => !/warren-(redis|secrets)$/.test(request)));
});

test("of two installs at once, both end with the same keys", async () => {
  const server = new Server();
  let other: Promise<string[]> | undefined;
  server.before = (request) => {
    // The second begins when the first has looked and found nothing.
    if (request === "POST warren-bootstrap") other ??= ensure(server);
  };
  await ensure(server);
  await other;
  const publicKeys = Buffer.from(server.data("warren-nats")["public-keys.json"] ?? "", "base64").toString();
  const { [OBSERVER]: _, ...known } = JSON.parse(publicKeys) as Record<string, string>;
  const trusted = (part: string): unknown =>
    (
      JSON.parse(Buffer.from(server.data(`warren-${part}`)["mesh.json"] ?? "", "base64").toString()) as {
        trusted: { services: unknown };
      }
    ).trusted.services;
  for (const part of ["gateway", "auth", "agent", "plugin-host", "secrets"]) assert.deepEqual(trusted(part), known);
});

test("a refusal says what was refused and why", async () => {
  const send: Transport = () =>
    Promise.resolve({ status: 403, text: JSON.stringify({ message: 'secrets "warren-bootstrap" is forbidden' }) });
  await assert.rejects(
    ensureSecrets({ api: secretsApi("mesh", send), prefix: "warren", labels: {} }),
    /refuses to read the Secret warren-bootstrap \(403\): secrets "warren-bootstrap" is forbidden/,
  );
});

test("outside of a pod it says so", () => {
  assert.throws(() => inClusterApi("/nowhere"), /No service account at \/nowhere/);
});
