import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { jsonCodec, type RpcError, StatusCode } from "@warren/mesh";
import { type NatsTls, natsServerConfig } from "@warren/mesh/policy";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, startNatsCluster } from "@warren/testing";
import { rawConnection } from "./raw.ts";
import { codeOf, serveSecrets } from "./support.ts";

interface Authority {
  readonly folder: string;
  readonly ca: string;
  /** Makes a certificate for a host. */
  issue(host: string): NatsTls;
}

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}

/** A certificate authority of this test's own. */
function createAuthority(t: Pick<TestContext, "after">): Authority {
  const folder = mkdtempSync(join(tmpdir(), "warren-tls-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = (name: string): string => join(folder, name);
  const caFile = path("ca.pem");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...key,
    "-keyout",
    path("ca.key"),
    "-out",
    caFile,
    "-days",
    "2",
    "-subj",
    "/CN=test authority",
  );
  return {
    folder,
    ca: readFileSync(caFile, "utf8"),
    issue: (host) => {
      const [certFile, keyFile, request, extensions] = ["pem", "key", "csr", "ext"].map((kind) =>
        path(`${host}.${kind}`),
      );
      assert.ok(certFile && keyFile && request && extensions);
      writeFileSync(extensions, `subjectAltName=${/^[\d.]+$/.test(host) ? "IP" : "DNS"}:${host}\n`);
      openssl("req", ...key, "-keyout", keyFile, "-out", request, "-subj", `/CN=${host}`);
      const by = ["-CA", caFile, "-CAkey", path("ca.key"), "-CAcreateserial", "-days", "2"];
      openssl("x509", "-req", "-in", request, ...by, "-out", certFile, "-extfile", extensions);
      return { certFile, keyFile, caFile };
    },
  };
}

function hasOpenssl(t: TestContext): boolean {
  try {
    openssl("version");
    return true;
  } catch {
    t.skip("the openssl command makes the certificates, and is not installed");
    return false;
  }
}

/** Long enough to refuse, too short to try for ever. */
const BRIEFLY = { connectTimeoutMs: 500 };

test("TLS between services and NATS", async (t) => {
  if (!hasOpenssl(t)) return;
  const authority = createAuthority(t);
  const nats = await startNatsCluster(t, 1, { tls: authority.issue("127.0.0.1") });
  const trusted = { tls: { ca: authority.ca } };

  await t.test("carries calls and state for those who trust the server's authority", async () => {
    const [server, gateway] = await Promise.all([nats.connect("secrets", trusted), nats.connect("gateway", trusted)]);
    await serveSecrets(server, { getSecret: async ({ name }) => ({ name }) });
    assert.equal((await gateway.client(SecretsServiceDefinition).getSecret({ name: "a" })).name, "a");
    const kv = await server.kv("secrets", jsonCodec<number>());
    await kv.put("k", 1);
    assert.equal((await kv.get("k"))?.value, 1);
  });
  await t.test("is refused where the server's certificate is of another authority", async (t) => {
    const stranger = createAuthority(t);
    await assert.rejects(nats.connect("secrets", { tls: { ca: stranger.ca }, ...BRIEFLY }), (error: RpcError) => {
      assert.equal(error.code, StatusCode.UNAVAILABLE);
      assert.match(error.message, /certificate/i);
      return true;
    });
    await assert.rejects(nats.connect("secrets", BRIEFLY), /certificate/i, "no authority given");
  });
  await t.test("is refused where the certificate is for another host", async (t) => {
    const misnamed = await startNatsCluster(t, 1, { tls: authority.issue("nats.example") });
    await assert.rejects(misnamed.connect("secrets", { ...trusted, ...BRIEFLY }), /altnames|host/i);
  });
  await t.test("is all that the server takes: plain text is hung up on", async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connectTcp(Number(new URL(nats.urls[0] ?? "").port), "127.0.0.1");
      let text = "";
      socket.on("data", (chunk: Buffer) => {
        if (!text) socket.write('CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n');
        text += chunk.toString("latin1");
      });
      socket.on("close", () => resolve(text));
      socket.on("error", reject);
    });
    assert.match(answer, /^INFO .*"tls_required":true/);
    assert.doesNotMatch(answer, /PONG/);
  });
  await t.test("is never given up for plain text by a service that was told to use it", async (t) => {
    const plain = await startNats(t);
    await assert.rejects(plain.connect("secrets", { ...trusted, ...BRIEFLY }), (error: RpcError) => {
      assert.equal(error.code, StatusCode.UNAVAILABLE);
      assert.match(error.message, /tls/i);
      return true;
    });
  });
  await t.test("does not stand in for the nkey", async () => {
    const gateway = await nats.connect("gateway", trusted);
    assert.equal(gateway.up, true);
    await assert.rejects(rawConnection({ ...nats, url: nats.urls[0] ?? "" }, "gateway"), /certificate/i);
  });
});

test("TLS between the servers of a cluster", async (t) => {
  if (!hasOpenssl(t)) return;
  const authority = createAuthority(t);
  const tls = authority.issue("127.0.0.1");
  const nats = await startNatsCluster(t, 3, { tls });
  const [server, gateway] = await Promise.all(
    ["secrets", "gateway"].map((name, index) =>
      nats.connect(name, { servers: [nats.urls[index] ?? ""], tls: { ca: authority.ca } }),
    ),
  );
  assert.ok(server && gateway);
  await serveSecrets(server, { getSecret: async ({ name }) => ({ name }) });
  assert.equal(await codeOf(gateway.client(SecretsServiceDefinition).getSecret({ name: "a" })), StatusCode.OK);
});

test("a cluster without a secret is not configured at all", () => {
  const cluster = { name: "c", port: -1, routes: [], secret: "" };
  assert.throws(
    () => natsServerConfig({ host: "127.0.0.1", port: -1, storeDir: "x", publicKeys: {}, cluster }),
    /secret/,
  );
});
