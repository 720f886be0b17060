import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { gatewayConfig } from "../../src/config.ts";
import { addCredential, startGateway } from "../support.ts";

const session = (id: string) => ({
  id,
  title: "x".repeat(200),
  createTime: undefined,
  updateTime: undefined,
  messages: [],
  messageCount: 0,
});
const sessions = Array.from({ length: 20 }, (_, i) => session(`s${i}`));
const handlers = {
  agent: {
    listSessions: () => Promise.resolve({ sessions, nextPageToken: "" }),
    chat: () => Promise.resolve({ sessionId: "s", message: "hello", toolCalls: [], usage: undefined }),
    async *streamChat() {
      yield { sequence: 1 };
    },
  },
  secrets: {
    getSecret: () => Promise.resolve({ name: "a", version: 1, value: "v".repeat(5000), updateTime: undefined }),
  },
  auth: { listPairings: () => Promise.resolve({ pairings: Array.from({ length: 50 }, () => ({})) as never }) },
};

/** The bytes of an answer. */
function bytesOf(
  url: string,
  headers: Record<string, string>,
): Promise<{ headers: Record<string, unknown>; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { headers, agent: false }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => resolve({ headers: incoming.headers, body: Buffer.concat(chunks) }));
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

test("a client gets the form that it prefers of those that a route has, or is told which there are", async (t) => {
  const { call } = await startGateway(t, { handlers });
  const json = "application/json; charset=utf-8";
  const sse = "text/event-stream; charset=utf-8";
  const lines = "application/x-ndjson; charset=utf-8";
  const table: [accept: string, type: string | undefined][] = [
    ["*/*", json],
    ["application/*", json],
    ["application/json", json],
    ["text/*", sse],
    ["text/event-stream", sse],
    ["Text/Event-Stream; charset=utf-8", sse],
    ["application/x-ndjson, */*;q=0.1", lines],
    ["application/json;q=0.5, text/event-stream", sse],
    ["application/json;q=0, */*", sse],
    ["text/html, */*;q=0.8", json],
    ["text/html", undefined],
    ["application/json;q=0", undefined],
    ["image/png, text/html;q=x", undefined],
    ["a/b,".repeat(2000), undefined],
  ];
  for (const [accept, type] of table) {
    const answer = await call("POST", "/v1/chat", { body: { message: "x" }, headers: { accept } });
    const shown = accept.slice(0, 50);
    if (type !== undefined) assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, type], shown);
    else assert.deepEqual([answer.status, answer.json["code"]], [406, "NOT_ACCEPTABLE"], shown);
  }
  const list = await call("GET", "/v1/sessions", { headers: { accept: "text/event-stream" } });
  assert.equal(list.status, 406);
  assert.match(String(list.json["detail"]), /answers as application\/json,/);
});

test("large answers are packed as the client asks; what a guesser could read by its length never is", async (t) => {
  const { url, operator } = await startGateway(t, { handlers });
  const get = (path: string, coding: string) =>
    bytesOf(url + path, { authorization: `Bearer ${operator}`, "accept-encoding": coding });
  const plain = await get("/v1/sessions", "identity");
  assert.equal(plain.headers["content-encoding"], undefined);
  assert.equal(plain.headers["vary"], "accept-encoding");
  const table: [accept: string, coding: string | undefined][] = [
    ["gzip, deflate, br, zstd", "br"],
    ["gzip", "gzip"],
    ["br;q=0.1, gzip;q=0.9", "gzip"],
    ["*", "br"],
    ["br;q=0, *;q=0.5", "gzip"],
    ["deflate", undefined],
    ["gzip;q=0", undefined],
  ];
  for (const [accept, coding] of table) {
    const { headers, body } = await get("/v1/sessions", accept);
    assert.equal(headers["content-encoding"], coding, accept);
    const unpacked = coding === "br" ? brotliDecompressSync(body) : coding === "gzip" ? gunzipSync(body) : body;
    assert.ok(unpacked.equals(plain.body), accept);
    if (coding) assert.ok(body.length < plain.body.length / 4, `${accept}: ${body.length}`);
  }
  for (const path of ["/v1/secrets/a", "/v1/pairing", "/health/live"]) {
    const { headers, body } = await get(path, "gzip, br");
    assert.deepEqual([headers["content-encoding"], headers["vary"]], [undefined, undefined], path);
    assert.ok(JSON.parse(body.toString()), path);
  }
});

test("a client that has an answer already is told that it has", async (t) => {
  const { url, operator, call } = await startGateway(t, { handlers });
  const first = await call("GET", "/v1/sessions");
  const tag = first.headers.get("etag") ?? "";
  assert.match(tag, /^W\/"[A-Za-z0-9_-]{27}"$/);
  for (const known of [tag, tag.slice(2), `"other", ${tag}`, "*"]) {
    const again = await call("GET", "/v1/sessions", { headers: { "if-none-match": known } });
    assert.deepEqual([again.status, again.text, again.headers.get("etag")], [304, "", tag], known);
    assert.ok(again.headers.get("x-request-id"));
  }
  for (const other of ['"other"', tag.slice(3), "W/", ",".repeat(10_000)])
    assert.equal(
      (await call("GET", "/v1/sessions", { headers: { "if-none-match": other } })).status,
      200,
      other.slice(0, 40),
    );
  const packed = await bytesOf(`${url}/v1/sessions`, { authorization: `Bearer ${operator}`, "accept-encoding": "br" });
  assert.equal(packed.headers["etag"], tag, "the same whatever its coding");
  const document = await call("GET", "/openapi.json", { anonymous: true });
  const seen = document.headers.get("etag") ?? "";
  assert.equal(document.headers.get("cache-control"), "no-cache");
  assert.equal(
    (await call("GET", "/openapi.json", { anonymous: true, headers: { "if-none-match": seen } })).status,
    304,
  );
  assert.equal((await call("GET", "/v1/secrets/a")).headers.get("etag"), null, "a secret's is a way to guess it");
  assert.equal((await call("GET", "/v1/sessions", { anonymous: true, headers: { "if-none-match": "*" } })).status, 401);
});

test("pages of origins that are named may read answers with a token of theirs; others may not, and cookies are nobody's", async (t) => {
  const page = "https://console.example.org";
  const { call } = await startGateway(t, { handlers, config: { allowedOrigins: [page] } });
  const preflight = (origin: string, path = "/v1/chat", headers = {}) =>
    call("OPTIONS", path, {
      anonymous: true,
      headers: { origin, "access-control-request-method": "POST", ...headers },
    });
  const asked = await preflight(page);
  assert.equal(asked.status, 204);
  assert.equal(asked.headers.get("access-control-allow-origin"), page);
  assert.equal(asked.headers.get("access-control-allow-methods"), "GET, HEAD, POST");
  assert.match(asked.headers.get("access-control-allow-headers") ?? "", /authorization, content-type/);
  assert.equal(asked.headers.get("access-control-allow-credentials"), null);
  assert.equal((await preflight(page, "/nowhere")).headers.get("access-control-allow-methods"), "");
  assert.equal((await preflight(page, "/v1/chat", { host: "evil.example" })).status, 421);
  for (const origin of [
    "https://evil.example",
    "null",
    `${page}.evil.example`,
    `${page}:8443`,
    "http://console.example.org",
  ]) {
    const refused = await preflight(origin);
    assert.deepEqual([refused.status, refused.headers.get("access-control-allow-origin")], [403, null], origin);
    assert.equal((await call("GET", "/v1/sessions", { headers: { origin } })).status, 403, origin);
  }
  const read = await call("GET", "/v1/sessions", { headers: { origin: page } });
  assert.deepEqual([read.status, read.headers.get("access-control-allow-origin")], [200, page]);
  assert.match(read.headers.get("access-control-expose-headers") ?? "", /retry-after/);
  assert.match(read.headers.get("vary") ?? "", /\borigin\b/);
  const refused = await call("GET", "/v1/sessions", { anonymous: true, headers: { origin: page } });
  assert.deepEqual([refused.status, refused.headers.get("access-control-allow-origin")], [401, page]);
  for (const wrong of ["*", "console.example.org", `${page}/`, `${page}/path`, "null", "file://x", "https://"])
    assert.equal(gatewayConfig.safeParse({ allowedOrigins: wrong }).success, false, wrong);
  assert.ok(gatewayConfig.safeParse({ allowedOrigins: `${page}, http://localhost:3000` }).success);
});

test("without an origin that is named there is no CORS at all", async (t) => {
  const { call, url, auth } = await startGateway(t, { handlers });
  await addCredential(auth);
  const own = await call("GET", "/v1/sessions", { headers: { origin: url } });
  assert.deepEqual([own.status, own.headers.get("access-control-allow-origin")], [200, null]);
  const asked = await call("OPTIONS", "/v1/chat", {
    headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
  });
  assert.equal(asked.status, 403);
});
