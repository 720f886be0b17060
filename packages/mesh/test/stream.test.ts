import assert from "node:assert/strict";
import test from "node:test";
import { type CallContext, RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { startNats, waitUntil } from "@warren/testing";
import { DEFAULT_WINDOW } from "../src/stream/credit.ts";
import { serveAgent } from "./support.ts";

test("a stream", async (t) => {
  const nats = await startNats(t);
  const [server, gateway] = await Promise.all([nats.connect("agent"), nats.connect("gateway")]);
  const state = { written: 0, ended: 0 };
  await serveAgent(server, {
    async *streamChat({ message }, ctx: CallContext) {
      try {
        const [kind, count = "0"] = message.split(" ");
        for (let i = 1; i <= Number(count); i++) {
          state.written = i;
          yield {
            sequence: i,
            event: { $case: "text", value: { text: kind === "large" ? "x".repeat(2_500_000) : "t" } },
          };
        }
        if (kind === "fail") throw new RpcError(StatusCode.FAILED_PRECONDITION, "no more");
        if (kind === "wait") await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      } finally {
        state.ended += 1;
      }
    },
  });
  const agent = gateway.client(AgentServiceDefinition);
  const read = async (message: string): Promise<number[]> => {
    const seen: number[] = [];
    for await (const event of agent.streamChat({ message })) seen.push(event.sequence);
    return seen;
  };

  await t.test("arrives whole and in order", async () => {
    assert.deepEqual(
      await read("small 5000"),
      Array.from({ length: 5000 }, (_, i) => i + 1),
    );
  });
  await t.test("carries messages larger than NATS does", async () => {
    const sizes: number[] = [];
    for await (const event of agent.streamChat({ message: "large 3" }))
      sizes.push(event.event?.$case === "text" ? event.event.value.text.length : 0);
    assert.deepEqual(sizes, [2_500_000, 2_500_000, 2_500_000]);
  });
  await t.test("ends with the handler's error after what came before it", async () => {
    const seen: number[] = [];
    const reading = (async () => {
      for await (const event of agent.streamChat({ message: "fail 3" })) seen.push(event.sequence);
    })();
    await assert.rejects(reading, { code: StatusCode.FAILED_PRECONDITION, message: "no more" });
    assert.deepEqual(seen, [1, 2, 3]);
  });
  await t.test("whose reader stops reading stops its writer within a window", async () => {
    state.written = 0;
    const iterator = agent.streamChat({ message: "small 100000" })[Symbol.asyncIterator]();
    await iterator.next();
    let before = -1;
    await waitUntil("the writer's halt", 5000, async () => {
      if (before === state.written) return true;
      before = state.written;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return undefined;
    });
    assert.ok(state.written <= 2 * DEFAULT_WINDOW.frames, `${state.written} frames were written for one that was read`);
    await iterator.return?.();
  });
  await t.test("whose reader leaves ends its handler", async () => {
    const before = state.ended;
    for await (const event of agent.streamChat({ message: "wait 1" })) if (event.sequence === 1) break;
    await waitUntil("the handler's end", 5000, () => (state.ended > before ? true : undefined));
  });
  await t.test("ends at its deadline", async () => {
    const reading = (async () => {
      for await (const event of agent.streamChat({ message: "wait 1" }, { timeoutMs: 200 }))
        assert.equal(event.sequence, 1);
    })();
    await assert.rejects(reading, { code: StatusCode.DEADLINE_EXCEEDED });
  });
});
