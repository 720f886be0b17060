import assert from "node:assert/strict";
import { test } from "node:test";
import { raw, send, startGateway } from "../support.ts";

function assertProblem(text: string, status: number, message: string): Record<string, unknown> {
  const [head = "", body = ""] = text.split("\r\n\r\n");
  assert.match(head, new RegExp(`^HTTP/1.1 ${status} `), message);
  assert.match(head, /^content-type: application\/problem\+json/im, message);
  assert.match(head, /^x-request-id: \S+/im, message);
  assert.match(head, /^traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]/im, message);
  return JSON.parse(body) as Record<string, unknown>;
}

test("hostile ids in a path are refused with the field named, and reach no service", async (t) => {
  let reached = 0;
  const { call } = await startGateway(t, {
    handlers: {
      "plugin-host": {
        getPlugin: () => ((reached += 1), Promise.resolve({})),
        callTool: () => ((reached += 1), Promise.resolve({})),
      },
      agent: { getSession: () => ((reached += 1), Promise.resolve({})) },
      secrets: { getSecret: () => ((reached += 1), Promise.resolve({})) },
    },
  });
  const ids = [
    "*",
    ">",
    "a.b",
    "",
    "%00",
    "a%00b",
    "%2e%2e",
    "..",
    "a%2Fb",
    "a%20b",
    "%E2%80%AE",
    "a%0d%0ab",
    "$JS",
    "a".repeat(2000),
    "__proto__ ",
    "A*",
    "%2A",
    "%3E",
    "é",
  ];
  for (const id of ids) {
    const plugin = await call("GET", `/v1/plugins/${encodeURI(decodeSafely(id)) === id ? id : encodeIfNeeded(id)}`);
    assert.ok([400, 404].includes(plugin.status), `${id}: ${plugin.status}`);
    if (plugin.status === 400) assert.partialDeepStrictEqual(plugin.json["errors"], [{ field: "id" }], id);
    const tool = await call("POST", `/v1/plugins/${encodeIfNeeded(id)}/tools/t:call`, { body: {} });
    assert.ok([400, 404].includes(tool.status), `${id}: ${tool.status}`);
    const session = await call("GET", `/v1/sessions/${encodeIfNeeded(id)}`);
    assert.ok([400, 404].includes(session.status), `${id}: ${session.status}`);
  }
  const names = ["*", ">", "a..b", ".a", "a.", "", "%00", "a".repeat(129)];
  for (const name of names) {
    const { status, json } = await call("GET", `/v1/secrets/${name === "" ? "%20" : name}`);
    assert.equal(status, 400, name);
    assert.partialDeepStrictEqual(json["errors"], [{ field: "name" }], name);
  }
  assert.equal(reached, 0);
});

function decodeSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function encodeIfNeeded(id: string): string {
  return /^[\x21-\x7e]*$/.test(id) ? id.trim() : encodeURIComponent(id);
}

test("bodies that are not what the contract says are refused with the place named", async (t) => {
  let reached = 0;
  const { call } = await startGateway(t, {
    handlers: {
      agent: { chat: () => ((reached += 1), Promise.resolve({})) },
      "plugin-host": {
        callTool: () => Promise.resolve({}),
        installPlugin: () => ((reached += 1), Promise.resolve({})),
      },
    },
  });
  const json = { "content-type": "application/json" };
  const table: [body: string | Buffer, code: string, place: string | RegExp][] = [
    ["{", "INVALID_JSON", /position 1 \(line 1, column 2\)/],
    ['{"message": x}', "INVALID_JSON", /position 12 \(line 1, column 13\)/],
    ['{"message":\n "a"\n,}', "INVALID_JSON", /position 18 \(line 3, column 2\)/],
    ["{'message':1}", "INVALID_JSON", /position 1 /],
    ['{"message":"a\u0001"}', "INVALID_JSON", /position 13/],
    ['{"message":"a"}}', "INVALID_JSON", /position 15/],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), "INVALID_JSON", /UTF-8/],
    ["[]", "INVALID_ARGUMENT", /JSON object/],
    ["null", "INVALID_ARGUMENT", /JSON object/],
    ['"x"', "INVALID_ARGUMENT", /JSON object/],
    ["", "INVALID_ARGUMENT", "message"],
    ["{}", "INVALID_ARGUMENT", "message"],
    ['{"message":""}', "INVALID_ARGUMENT", "message"],
    ['{"message":1}', "INVALID_ARGUMENT", "message"],
    ['{"message":{}}', "INVALID_ARGUMENT", "message"],
    ['{"message":["a"]}', "INVALID_ARGUMENT", "message"],
    ['{"message":"\\ud800"}', "INVALID_ARGUMENT", "message"],
    ['{"message":"a","sessionId":"a.b"}', "INVALID_ARGUMENT", "sessionId"],
    ['{"message":"a","sessionId":"*"}', "INVALID_ARGUMENT", "sessionId"],
    ['{"message":"a","unknown":1}', "INVALID_ARGUMENT", "unknown"],
    ['{"message":"a","$typeName":"x"}', "INVALID_ARGUMENT", "$typeName"],
    ['{"message":"a","__proto__":{"x":1}}', "FORBIDDEN_KEY", "__proto__"],
    ['{"message":"a","constructor":{"prototype":{"x":1}}}', "FORBIDDEN_KEY", "constructor"],
    [`{"message":"${"a".repeat(65_537)}"}`, "INVALID_ARGUMENT", "message"],
    [`${'{"a":'.repeat(200)}1${"}".repeat(200)}`, "INVALID_JSON", /deeper/],
    ["[".repeat(500_000), "INVALID_JSON", /position 500000/],
    [`${"[".repeat(400_000)}${"]".repeat(400_000)}`, "INVALID_JSON", /deeper/],
  ];
  for (const [body, code, place] of table) {
    const answer = await call("POST", "/v1/chat", { body, headers: json });
    const shown = body.toString().slice(0, 40);
    assert.deepEqual([answer.status, answer.json["code"]], [400, code], `${shown}: ${answer.text}`);
    if (place instanceof RegExp) assert.match(String(answer.json["detail"]), place, shown);
    else assert.partialDeepStrictEqual(answer.json["errors"], [{ field: place }], shown);
  }
  const nested = '{"arguments":{"a":[{"__proto__":{"polluted":true}}]}}';
  const polluted = await call("POST", "/v1/plugins/clock/tools/t:call", { body: nested, headers: json });
  assert.deepEqual(
    [polluted.status, polluted.json["errors"]],
    [400, [{ field: "arguments.a[0].__proto__", message: "is not an allowed key" }]],
  );
  assert.equal(Object.hasOwn(Object.prototype, "polluted"), false);
  const two = await call("POST", "/v1/plugins", {
    body: { packageDigest: `sha256:${"0".repeat(64)}`, mcp: { commandLine: "npx -y x" } },
  });
  assert.equal(two.status, 400);
  assert.equal(reached, 0);
  assert.equal(
    (await call("POST", "/v1/chat", { body: '{"message":"a","message":"b"}', headers: json })).status,
    200,
    "repeated keys are JSON",
  );
});

test("the kind, size and coding of a body are bounded", async (t) => {
  const { call, url, operator } = await startGateway(t, { handlers: { agent: { chat: () => Promise.resolve({}) } } });
  const body = JSON.stringify({ message: "x" });
  for (const type of [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "application/jsonx",
    "application/xml",
  ]) {
    const answer = await call("POST", "/v1/chat", { body, headers: { "content-type": type } });
    assert.deepEqual([answer.status, answer.json["code"]], [415, "UNSUPPORTED_MEDIA_TYPE"], type);
  }
  assert.equal(
    (await send(`${url}/v1/chat`, "POST", { authorization: `Bearer ${operator}` }, body)).status,
    415,
    "no content type",
  );
  const coded = await call("POST", "/v1/chat", {
    body,
    headers: { "content-type": "application/json", "content-encoding": "gzip" },
  });
  assert.equal(coded.status, 415);
  assert.equal(
    (await call("POST", "/v1/chat", { body, headers: { "content-type": "application/json; charset=UTF-8" } })).status,
    200,
  );
  const big = JSON.stringify({ message: "x".repeat(2 * 1024 * 1024) });
  const announced = await call("POST", "/v1/chat", { body: big });
  assert.deepEqual([announced.status, announced.json["code"]], [413, "BODY_TOO_LARGE"]);
  const chunked = await call("POST", "/v1/chat", { body: big, headers: { "transfer-encoding": "chunked" } }).catch(
    (error: Error) => error,
  );
  assert.ok(chunked instanceof Error ? /ECONNRESET|EPIPE|hang up/.test(String(chunked)) : chunked.status === 413);
});

test("bytes that are no request are answered with a problem and closed", async (t) => {
  const { port, call } = await startGateway(t);
  const host = "Host: localhost\r\n";
  const table: [name: string, bytes: string, status: number][] = [
    ["garbage", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400],
    ["unknown method", `BREW /v1/chat HTTP/1.1\r\n${host}\r\n`, 400],
    [
      "length and chunks",
      `POST /v1/chat HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n`,
      400,
    ],
    ["two lengths", `POST /v1/chat HTTP/1.1\r\n${host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, 400],
    ["negative length", `POST /v1/chat HTTP/1.1\r\n${host}Content-Length: -5\r\n\r\n`, 400],
    [
      "chunked twice",
      `POST /v1/chat HTTP/1.1\r\n${host}Transfer-Encoding: chunked, chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`,
      400,
    ],
    ["space before colon", `GET /v1/chat HTTP/1.1\r\n${host}Content-Length : 5\r\n\r\n`, 400],
    ["folded header", `GET /v1/chat HTTP/1.1\r\n${host}X-A: b\r\n c\r\n\r\n`, 400],
    ["bare line feed", `GET /v1/chat HTTP/1.1\nHost: localhost\nX: y\n\n`, 400],
    ["NUL in a header", `GET /v1/chat HTTP/1.1\r\n${host}X-A: a\0b\r\n\r\n`, 400],
    ["headers of 32 KiB", `GET /v1/chat HTTP/1.1\r\n${host}X-A: ${"a".repeat(32 * 1024)}\r\n\r\n`, 431],
  ];
  for (const [name, bytes, status] of table) {
    const text = await raw(port, bytes);
    const problem = assertProblem(text, status, `${name}: ${text.slice(0, 200)}`);
    assert.equal(problem["status"], status, name);
    assert.equal(text.match(/^HTTP\/1\.1 \d/gm)?.length, 1, `${name}: one answer and no smuggled second`);
  }
  assert.equal((await call("GET", "/health/live")).status, 200, "the server lives on");
});

test("requests whose target or host is malformed are answered with a problem", async (t) => {
  const { port } = await startGateway(t);
  const close = "Connection: close\r\n\r\n";
  const table: [name: string, bytes: string, status: number][] = [
    ["bad percent-encoding", `GET /v1/plugins/%zz HTTP/1.1\r\nHost: localhost\r\n${close}`, 400],
    ["half a character", `GET /v1/plugins/%C3 HTTP/1.1\r\nHost: localhost\r\n${close}`, 400],
    ["no host", `GET /v1/plugins HTTP/1.1\r\n${close}`, 400],
    ["two hosts", `GET /v1/plugins HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n${close}`, 400],
    ["host with user", `GET /v1/plugins HTTP/1.1\r\nHost: a@localhost\r\n${close}`, 400],
    ["foreign host", `GET /v1/plugins HTTP/1.1\r\nHost: evil.example\r\n${close}`, 421],
    ["foreign absolute target", `GET http://evil.example/v1/plugins HTTP/1.1\r\nHost: localhost\r\n${close}`, 421],
    ["own absolute target", `GET http://localhost/v1/plugins HTTP/1.1\r\nHost: localhost\r\n${close}`, 401],
    ["asterisk", `OPTIONS * HTTP/1.1\r\nHost: localhost\r\n${close}`, 404],
    ["dot segments", `GET /v1/plugins/../../etc HTTP/1.1\r\nHost: localhost\r\n${close}`, 404],
    [
      "upgrade",
      `GET /v1/plugins HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n`,
      401,
    ],
    ["odd expectation", `GET /v1/plugins HTTP/1.1\r\nHost: localhost\r\nExpect: magic\r\n${close}`, 401],
  ];
  for (const [name, bytes, status] of table) assertProblem(await raw(port, bytes), status, name);
});
