import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { fixtures, type Message, Session } from "./support/session.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const parentId = "b7ad6b7169203331";
const traceparent = `00-${traceId}-${parentId}-01`;

for (const [language, command] of Object.entries(fixtures)) {
  suite(`the ${language} SDK`, () => {
    test("begins a session, lists its tools, answers pings, and stops when stdin ends", async (t) => {
      const session = new Session(t, command);
      const { result } = await session.initialize();
      assert.deepEqual(result, {
        protocolVersion: "2025-11-25",
        capabilities: { tools: {} },
        serverInfo: { name: "fixture", version: "1.2.3" },
        instructions: "Use it in tests.",
      });
      session.send({ method: "notifications/initialized" });
      assert.deepEqual((await session.request("ping"))["result"], {});
      const { tools } = (await session.request("tools/list"))["result"] as { tools: Message[] };
      assert.equal(tools.length, 11);
      const any = { type: "object" };
      assert.deepEqual(tools[0], { name: "text", title: "Text", description: "Text.", inputSchema: any });
      assert.equal(await session.end(), 0);
      await session.stderr.take((line) => line === "started with {}");
      await session.stderr.take((line) => line === "stopped");
      assert.deepEqual(session.stdout.all, []);
    });

    test("answers an older revision with it and an unknown one with its own", async (t) => {
      for (const [asked, answered] of [
        ["2024-11-05", "2024-11-05"],
        ["2026-07-28", "2025-11-25"],
      ]) {
        const session = new Session(t, command);
        const { result } = await session.request("initialize", { protocolVersion: asked });
        assert.equal((result as Message)["protocolVersion"], answered);
        await session.end();
      }
    });

    test("turns what tools return into MCP results", async (t) => {
      const session = new Session(t, command);
      assert.deepEqual(await session.call("text"), { content: [{ type: "text", text: "plain" }] });
      assert.deepEqual(await session.call("structured", { a: [1, "é"] }), {
        content: [
          { type: "text", text: language === "Python" ? '{"args":{"a":[1,"\\u00e9"]}}' : '{"args":{"a":[1,"é"]}}' },
        ],
        structuredContent: { args: { a: [1, "é"] } },
      });
      assert.deepEqual(await session.call("blocks"), { content: [{ type: "text", text: "one" }] });
      assert.deepEqual(await session.call("nothing"), { content: [] });
    });

    test("turns what tools throw, or cannot be sent, into tool errors and goes on", async (t) => {
      const session = new Session(t, command);
      assert.deepEqual(await session.call("fail"), {
        content: [{ type: "text", text: "it is broken" }],
        isError: true,
      });
      await session.stderr.take((line) => line.startsWith("fail failed:"));
      assert.equal((await session.call("unsendable"))["isError"], true);
      assert.deepEqual(await session.call("text"), { content: [{ type: "text", text: "plain" }] });
    });

    test("keeps what a tool prints out of the protocol", async (t) => {
      const session = new Session(t, command);
      assert.deepEqual(await session.call("print"), { content: [{ type: "text", text: "done" }] });
      await session.stderr.take((line) => line === "printed");
      assert.deepEqual(session.stdout.all, []);
    });

    test("checks arguments and names the fields that are wrong", async (t) => {
      const session = new Session(t, command);
      const cases: [Message, string][] = [
        [{}, "name is required"],
        [{ name: 3 }, "name must be a string"],
        [{ name: "a" }, "name must have at least 2 characters"],
        [{ name: "abcde" }, "name must have at most 4 characters"],
        [{ name: "AB" }, "name must match ^[a-z]+$"],
        [{ name: "ab", kind: "c" }, 'kind must be one of "a", "b"'],
        [{ name: "ab", count: 1.5 }, "count must be an integer"],
        [{ name: "ab", count: true }, "count must be an integer"],
        [{ name: "ab", count: 10 }, "count must be at most 9"],
        [{ name: "ab", on: 1 }, "on must be a boolean or null"],
        [{ name: "ab", list: [1, "2"] }, "list[1] must be a number"],
        [{ name: "ab", list: [1, 2, 3] }, "list must have at most 2 items"],
        [{ name: "ab", inner: { x: true, y: 1 } }, "inner.x must be 1; inner.y is not known; there is x"],
        [{ name: "ab", constructor: 1 }, "constructor is not known; there is name, kind, count, on, list, inner"],
      ];
      for (const [args, message] of cases) {
        const expected = { content: [{ type: "text", text: `checked: ${message}` }], isError: true };
        assert.deepEqual(await session.call("checked", args), expected);
      }
      const good = { name: "äb".replace("ä", "a"), kind: "a", count: 9, on: null, list: [1, 2.5], inner: { x: 1 } };
      assert.deepEqual(await session.call("checked", good), { content: [{ type: "text", text: "fine" }] });
    });

    test("answers bad requests with the right errors and survives every one", async (t) => {
      const session = new Session(t, command);
      const answerOf = async (line: string, id: number | string | null) => {
        session.write(`${line}\n`);
        return ((await session.answerTo(id))["error"] as Message)["code"];
      };
      assert.equal(await answerOf("garbage", null), -32_700);
      assert.equal(await answerOf("\u0000\u0001", null), -32_700);
      assert.equal(await answerOf("[]", null), -32_600);
      assert.equal(await answerOf('{"id":1,"method":"ping"}', null), -32_600);
      assert.equal(await answerOf('{"jsonrpc":"2.0","id":null,"method":"ping"}', null), -32_600);
      assert.equal(await answerOf('{"jsonrpc":"2.0","id":{},"method":"ping"}', null), -32_600);
      assert.equal(await answerOf('{"jsonrpc":"2.0","id":"m","method":3}', "m"), -32_600);
      assert.equal(await answerOf('{"jsonrpc":"2.0","id":"p","method":"ping","params":[]}', "p"), -32_602);
      assert.equal(await answerOf('{"jsonrpc":"2.0","id":"u","method":"resources/list"}', "u"), -32_601);
      assert.equal(await answerOf('{"jsonrpc":"2.0","id":"v","method":"initialize","params":{}}', "v"), -32_602);
      const call = (id: string, params: object) => JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params });
      assert.equal(await answerOf(call("t", { name: "nope" }), "t"), -32_602);
      assert.equal(await answerOf(call("c", { name: "constructor" }), "c"), -32_602);
      assert.equal(await answerOf(call("n", {}), "n"), -32_602);
      assert.equal(await answerOf(call("a", { name: "text", arguments: [] }), "a"), -32_602);
      assert.equal(await answerOf("[".repeat(200_000), null), -32_700);
      assert.equal(await answerOf("x".repeat(9 * 1024 * 1024), null), -32_600);
      session.write('\n\n{"jsonrpc":"2.0","id":99,"result":{}}\n{"jsonrpc":"2.0","method":"notifications/unknown"}\n');
      assert.deepEqual((await session.request("ping"))["result"], {});
      assert.deepEqual(session.stdout.all, []);
    });

    test("cancels a call that its caller gave up, without an answer, while others go on", async (t) => {
      const session = new Session(t, command);
      const id = session.post("tools/call", { name: "wait" });
      await session.stderr.take((line) => line === "waiting");
      session.send({ id, method: "ping" });
      assert.equal(((await session.answerTo(null))["error"] as Message)["code"], -32_600);
      assert.deepEqual(await session.call("text"), { content: [{ type: "text", text: "plain" }] });
      session.send({ method: "notifications/cancelled", params: { requestId: id } });
      await session.stderr.take((line) => line === "was cancelled");
      assert.deepEqual((await session.request("ping"))["result"], {});
      assert.deepEqual(session.stdout.all, []);
    });

    test("finishes what is quick and cancels what is not when stdin ends or SIGTERM comes", async (t) => {
      for (const stop of ["end", "SIGTERM"]) {
        const session = new Session(t, command);
        const quick = session.post("tools/call", { name: "text" });
        session.post("tools/call", { name: "wait" });
        if (stop === "SIGTERM") await session.stderr.take((line) => line === "waiting");
        if (stop === "end") session.child.stdin?.end();
        else session.child.kill("SIGTERM");
        assert.ok((await session.answerTo(quick))["result"]);
        assert.equal(await session.exited, 0);
        await session.stderr.take((line) => line === "was cancelled");
        await session.stderr.take((line) => line === "stopped");
      }
    });

    test("stops well when nobody reads its answers any more", async (t) => {
      const session = new Session(t, command);
      await session.initialize();
      session.child.stdout?.destroy();
      session.post("ping");
      session.post("ping");
      await session.end();
      assert.equal(await session.exited, 0);
      await session.stderr.take((line) => line === "stopped");
    });

    test("says why it did not start, and ends with 1", async (t) => {
      const session = new Session(t, command, { env: { FAIL_START: "1" } });
      const { error } = await session.initialize();
      assert.equal((error as Message)["message"], "no luck today");
      assert.equal(await session.end(), 1);
    });

    test("returns its span below the caller's, and passes its own on", async (t) => {
      const session = new Session(t, command);
      const result = await session.call("trace", {}, { traceparent });
      const [span] = (result["_meta"] as Message)["dev.warren/spans"] as Message[];
      assert.ok(span);
      const { spanId, startTimeUnixNano, endTimeUnixNano, ...rest } = span;
      assert.deepEqual(rest, { parentSpanId: parentId, name: "execute_tool trace", status: "ok" });
      assert.match(String(spanId), /^[0-9a-f]{16}$/);
      assert.deepEqual(result["content"], [{ type: "text", text: `00-${traceId}-${String(spanId)}-01` }]);
      assert.equal(typeof startTimeUnixNano, "string");
      const [start, end] = [BigInt(String(startTimeUnixNano)), BigInt(String(endTimeUnixNano))];
      const now = BigInt(Date.now()) * 1_000_000n;
      assert.ok(start <= end && now - start < 60_000_000_000n && end <= now + 60_000_000_000n);
      const failed = (await session.call("fail", {}, { traceparent }))["_meta"] as Record<string, Message[]>;
      assert.equal(failed["dev.warren/spans"]?.[0]?.["status"], "error");
    });

    test("has no span where the caller sent no valid traceparent", async (t) => {
      const session = new Session(t, command);
      const zero = "0".repeat(32);
      for (const bad of [undefined, 3, "", "00-x-y-01", `00-${zero}-${parentId}-01`, `${traceparent}-more`]) {
        const result = await session.call("trace", {}, { traceparent: bad });
        assert.deepEqual(result, { content: [{ type: "text", text: "none" }] });
      }
    });

    test("leases a secret and logs over the host channel", async (t) => {
      const session = new Session(t, command, { host: true });
      const id = session.post("tools/call", { name: "lease", arguments: { name: "key" }, _meta: { traceparent } });
      const log = await session.fromPlugin("host/log");
      assert.equal(log["id"], undefined);
      assert.equal((log["params"] as Message)["message"], "wants key");
      assert.equal((log["params"] as Message)["level"], "warn");
      const asked = await session.fromPlugin("host/secrets.lease");
      const { name, _meta: meta } = asked["params"] as { name: string; _meta: Message };
      assert.equal(name, "key");
      assert.equal(meta["dev.warren/call"], id);
      assert.match(String(meta["traceparent"]), new RegExp(`^00-${traceId}-(?!${parentId})[0-9a-f]{16}-01$`));
      const lease = { name: "key", value: "s3cret", version: 1, expireTime: null };
      session.toPlugin({ id: asked["id"], result: lease });
      const answer = (await session.answerTo(id))["result"] as Message;
      assert.deepEqual(answer["structuredContent"], { lease });

      const refused = session.call("lease", { name: "other" });
      const second = await session.fromPlugin("host/secrets.lease");
      session.toPlugin({
        id: second["id"],
        error: { code: -32_000, message: "not granted", data: { reason: "PERMISSION_DENIED" } },
      });
      assert.deepEqual(await refused, { content: [{ type: "text", text: "not granted" }], isError: true });
    });

    test("gives up a host call when its call is cancelled or the channel is lost", async (t) => {
      const session = new Session(t, command, { host: true });
      const id = session.post("tools/call", { name: "lease", arguments: { name: "a" } });
      await session.fromPlugin("host/secrets.lease");
      session.send({ method: "notifications/cancelled", params: { requestId: id } });
      const lost = session.call("lease", { name: "b" });
      await session.fromPlugin("host/secrets.lease");
      session.host?.socket.destroy();
      assert.match(JSON.stringify(await lost), /channel to the host is closed/);
      assert.match(JSON.stringify(await session.call("lease", { name: "c" })), /channel to the host is closed/);
      assert.deepEqual(session.stdout.all, []);
      assert.equal(await session.end(), 0);
    });

    test("without a host channel, host calls say so and log lines go to stderr", async (t) => {
      const session = new Session(t, command);
      assert.match(JSON.stringify(await session.call("lease", { name: "key" })), /has no channel to the host/);
      await session.stderr.take((line) => line === "[warn] wants key");
    });

    test("does what the host asks over the channel when told to open it at once", async (t) => {
      const session = new Session(t, command, { host: true, env: { WARREN_HOST_CHANNEL: "1" } });
      const ask = async (id: number, method: string, params: Message = {}) => {
        session.toPlugin({ id, method, params });
        const answer = await session.fromPlugin();
        assert.equal(answer["id"], id);
        return answer["result"] ?? answer["error"];
      };
      assert.deepEqual(await ask(1, "plugin/start", { config: { zone: "UTC" } }), {});
      await session.stderr.take((line) => line === 'started with {"zone":"UTC"}');
      await session.initialize();
      assert.deepEqual(await ask(2, "plugin/health"), { status: "degraded", message: "a fixture" });
      assert.deepEqual(await ask(3, "plugin/config", { config: { zone: "GMT" } }), {});
      assert.match(JSON.stringify(await ask(4, "plugin/config", { config: { bad: true } })), /configuration is bad/);
      assert.deepEqual(await ask(5, "plugin/saveState"), { state: { count: 3 } });
      assert.deepEqual(await ask(6, "plugin/restoreState", { state: { count: 4 } }), {});
      await session.stderr.take((line) => line === 'restored {"count":4}');
      assert.match(JSON.stringify(await ask(7, "plugin/nope")), /-32601/);
      assert.deepEqual(await ask(8, "plugin/stop"), {});
      await session.stderr.take((line) => line === "stopped");
      assert.equal(await session.end(), 0);
      assert.deepEqual(session.stderr.all, []);
    });
  });
}
