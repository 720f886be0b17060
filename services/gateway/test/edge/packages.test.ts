import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { waitUntil } from "@warren/testing";
import { startGateway } from "../support.ts";

const gzip = { "content-type": "application/gzip" };

function tempDir(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "warren-packages-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("a package is stored in the mesh under the hash of its bytes", async (t) => {
  const folder = tempDir(t);
  const { call, nats } = await startGateway(t, { tempDir: folder });
  const bytes = randomBytes(3 * 1024 * 1024);
  const digest = createHash("sha256").update(bytes).digest("hex");
  for (const headers of [gzip, { "content-type": "application/octet-stream" }]) {
    const answer = await call("POST", "/v1/packages", { body: bytes, headers });
    assert.deepEqual(
      [answer.status, answer.json],
      [201, { digest: `sha256:${digest}`, size: bytes.length }],
      answer.text,
    );
  }
  const objects = await (await nats.connect("plugin-host")).objects("plugin_packages");
  assert.deepEqual(await objects.list(), [digest]);
  const chunks: Uint8Array[] = [];
  const stored = await objects.get(digest);
  assert.ok(stored);
  for await (const chunk of stored) chunks.push(chunk as Uint8Array);
  assert.ok(Buffer.concat(chunks).equals(bytes));
  assert.deepEqual(readdirSync(folder), [], "nothing is left behind");
});

test("what is no package, or too much of one, is refused and leaves nothing behind", async (t) => {
  const folder = tempDir(t);
  const { call, url, operator } = await startGateway(t, { tempDir: folder });
  assert.equal((await call("POST", "/v1/packages", { body: Buffer.alloc(0), headers: gzip })).status, 400);
  assert.equal((await call("POST", "/v1/packages")).status, 400);
  assert.equal((await call("POST", "/v1/packages", { body: {} })).status, 415);
  const announced = await new Promise<number | undefined>((resolve, reject) => {
    const headers = { ...gzip, authorization: `Bearer ${operator}`, "content-length": 65 * 1024 * 1024 };
    const outgoing = httpRequest(`${url}/v1/packages`, { method: "POST", headers }, (response) =>
      resolve((response.resume(), response.statusCode)),
    );
    outgoing.on("error", reject);
    outgoing.flushHeaders();
    t.after(() => outgoing.destroy());
  });
  assert.equal(announced, 413);
  const unannounced = await new Promise<number | string | undefined>((resolve) => {
    const headers = { ...gzip, authorization: `Bearer ${operator}`, "transfer-encoding": "chunked" };
    const outgoing = httpRequest(`${url}/v1/packages`, { method: "POST", headers }, (response) =>
      resolve((response.resume(), response.statusCode)),
    );
    // The server may close before the client has sent all of it.
    outgoing.on("error", (error) => resolve((error as NodeJS.ErrnoException).code));
    const chunk = Buffer.alloc(1024 * 1024);
    const more = (left: number): void =>
      void (left ? outgoing.write(chunk, (error) => error || more(left - 1)) : outgoing.end());
    more(66);
  });
  assert.ok([413, "ECONNRESET", "EPIPE"].includes(unannounced ?? ""), String(unannounced));
  await waitUntil("The cleaning", 5000, () => Promise.resolve(readdirSync(folder).length === 0 || undefined));
});

test("an upload that its client abandons leaves nothing behind", async (t) => {
  const folder = tempDir(t);
  const { url, operator } = await startGateway(t, { tempDir: folder });
  const headers = { ...gzip, authorization: `Bearer ${operator}`, "content-length": 1024 * 1024 };
  const outgoing = httpRequest(`${url}/v1/packages`, { method: "POST", headers });
  outgoing.on("error", () => {
    // It is this test that ends it.
  });
  outgoing.write(Buffer.alloc(1000));
  await waitUntil("The upload", 5000, () => Promise.resolve(readdirSync(folder).length === 1 || undefined));
  outgoing.destroy();
  await waitUntil("The cleaning", 5000, () => Promise.resolve(readdirSync(folder).length === 0 || undefined));
});
