import assert from "node:assert/strict";
import test from "node:test";
import { type Answer, startStack } from "@warren/testing";

const MiB = 1 << 20;

/** What every refusal looks like: RFC 9457, with the request's id and trace. */
function assertProblem(answer: Answer, status: number, field?: string): void {
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/);
  assert.equal(answer.json["status"], status);
  assert.ok(String(answer.json["title"]).length > 0);
  assert.ok(answer.headers.get("x-request-id"));
  assert.match(answer.headers.get("traceparent") ?? "", /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
  if (field === undefined) return;
  const fields = [...(answer.json["errors"] ?? [])].map((error) => String(error["field"]));
  assert.ok(fields.includes(field), `${answer.text} does not name ${field}`);
}

test("bad input is refused with a problem that names the field", async (t) => {
  const stack = await startStack(t);
  const chat = (body: unknown): Promise<Answer> => stack.request("POST", "/v1/chat", { body });

  await t.test("JSON that is none", async () => {
    for (const raw of ["{", "", "{'message':1}", "\u0000", '{"message":"a"}x'])
      assertProblem(await stack.request("POST", "/v1/chat", { raw }), 400);
  });
  await t.test("wrong types", async () => {
    for (const message of [5, null, true, ["a"], { a: 1 }]) assertProblem(await chat({ message }), 400, "message");
    for (const body of [[], "text", 5, null]) assertProblem(await chat(body), 400);
  });
  await t.test("unknown and missing fields", async () => {
    assertProblem(await chat({ message: "a", bogus: 1 }), 400, "bogus");
    assertProblem(await chat({}), 400, "message");
    assertProblem(await stack.request("POST", "/v1/chat", { raw: '{"message":"a","__proto__":{"x":1}}' }), 400);
    assertProblem(await stack.request("GET", "/v1/devices?bogus=1"), 400, "bogus");
  });
  await t.test("bodies that are too large", async () => {
    assertProblem(await chat({ message: "x".repeat(2 * MiB) }), 413);
  });
  await t.test("hostile ids never reach another subject", async () => {
    const ids = [
      "*",
      ">",
      "a.b",
      "..",
      " ",
      "a b",
      "%00",
      "\u00e9",
      "clock.*",
      "x".repeat(5000),
      "$SYS",
      "_cancel",
      "A",
    ];
    for (const id of ids) {
      const path = id === "%00" ? id : encodeURIComponent(id);
      for (const [method, route] of [
        ["GET", `/v1/plugins/${path}`],
        ["DELETE", `/v1/plugins/${path}`],
        ["POST", `/v1/plugins/${path}/tools/get_current_time:call`],
        ["GET", `/v1/sessions/${path}`],
        ["GET", `/v1/secrets/${id === "a.b" ? "a%2Eb%00" : path}`],
        ["DELETE", `/v1/devices/${path}`],
      ] as const) {
        const answer = await stack.request(method, route, method === "POST" ? { body: { arguments: {} } } : {});
        assert.ok(
          answer.status >= 400 && answer.status < 500,
          `${method} ${route.slice(0, 80)}: ${answer.status} ${answer.text.slice(0, 300)}`,
        );
        assertProblem(answer, answer.status);
      }
    }
    assertProblem(await stack.request("GET", "/v1/plugins/"), 400, "id");
    for (const sessionId of ["*", ">", "a.b", "a\u0000"])
      assertProblem(await chat({ message: "a", sessionId }), 400, "sessionId");
    const tool = await stack.request("POST", "/v1/plugins/clock/tools/%2A:call", { body: { arguments: {} } });
    assertProblem(tool, 400, "tool");
  });
  await t.test("routes and methods that are not there", async () => {
    assertProblem(await stack.request("GET", "/v1/nothing"), 404);
    assertProblem(await stack.request("PATCH", "/v1/chat"), 405);
    assertProblem(
      await stack.request("POST", "/v1/chat", { raw: "a", headers: { "content-type": "text/plain" } }),
      415,
    );
  });
  await t.test("tokens that are missing, wrong or without the scope", async () => {
    for (const token of [null, "nonsense", `${stack.token}x`, "eyJhbGciOiJub25lIn0.e30."]) {
      const answer = await stack.request("GET", "/v1/plugins", { token });
      assertProblem(answer, 401);
    }
  });
  await t.test("and the mesh is as healthy as before", async () => {
    assert.equal((await stack.request("GET", "/health?detailed=true")).json["status"], "healthy");
    assert.equal((await chat({ message: "Hello!" })).status, 200);
    assert.doesNotMatch(stack.lines.join("\n"), /"level":"error"/);
  });
});
