import assert from "node:assert/strict";
import { test } from "node:test";
import { FinishReason } from "@warren/proto/warren/agent/v1/agent";
import * as fc from "fast-check";
import { startGateway } from "../support.ts";

const usage = { inputTokens: 1, outputTokens: 1, totalTokens: 2, model: "m", steps: 1 };

/** Bodies that hold what the routes look for, in places where it may or may not belong. */
const keys = fc.constantFrom(
  ...["model", "messages", "role", "content", "tools", "type", "function", "name", "arguments", "parameters", "input"],
  ...[
    "tool_calls",
    "tool_call_id",
    "call_id",
    "id",
    "tool_choice",
    "stop",
    "stream",
    "response_format",
    "text",
    "format",
  ],
  ...["jsonrpc", "method", "params", "_meta", "progressToken", "requestId", "protocolVersion", "cursor"],
);
const words = fc.constantFrom(
  ...["user", "assistant", "tool", "system", "function", "text", "message", "function_call", "function_call_output"],
  ...[
    "2.0",
    "tools/call",
    "tools/list",
    "initialize",
    "subscriptions/listen",
    "notifications/cancelled",
    "{}",
    "[",
    "",
  ],
  "io.modelcontextprotocol/protocolVersion",
);
const { body } = fc.letrec<{ body: unknown; value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    words,
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constant(null),
    fc.array(tie("value"), { maxLength: 3 }),
    tie("body"),
  ),
  body: fc.dictionary(keys, tie("value"), { maxKeys: 6 }),
}));

test("whatever is sent to the routes of other people's clients is answered, and never by a fault of ours", async (t) => {
  const { call } = await startGateway(t, {
    handlers: {
      agent: {
        async *complete() {
          yield { event: { $case: "finished", value: { reason: FinishReason.STOP, usage } } } as const;
        },
      },
    },
  });
  const skeletons = {
    "/v1/chat/completions": { model: "m", messages: [{ role: "user", content: "Hi" }] },
    "/v1/responses": { model: "m", input: [{ role: "user", content: "Hi" }] },
    "/mcp": { jsonrpc: "2.0", id: 1, method: "tools/list" },
  };
  const headers = { accept: "application/json, text/event-stream" };
  for (const [path, skeleton] of Object.entries(skeletons))
    await fc.assert(
      fc.asyncProperty(body, fc.boolean(), async (given, within) => {
        // Nobody listens for the end of what never ends.
        if ((given as { method?: unknown }).method === "subscriptions/listen") return;
        const answer = await call("POST", path, {
          body: within ? { ...skeleton, ...(given as object) } : given,
          headers,
        });
        assert.ok(answer.status < 500, `${answer.status} ${answer.text} to ${JSON.stringify(given)}`);
        if (answer.status < 400 || path === "/mcp") return;
        const { error } = answer.json as { error: Record<string, unknown> };
        assert.deepEqual(Object.keys(error), ["message", "type", "param", "code"]);
      }),
      { numRuns: 60 },
    );
});
