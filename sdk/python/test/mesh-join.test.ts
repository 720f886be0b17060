// Who may join, whom it trusts, and what it is made of.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, createPublicKey, randomBytes, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { startNats, startNatsCluster } from "@warren/testing";
import { python, type Said } from "./support.ts";

const SECRETS = "warren.secrets.v1.SecretsService";

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
