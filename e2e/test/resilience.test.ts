import assert from "node:assert/strict";
import test from "node:test";
import { type Answer, startStack, type TestStack, waitUntil } from "@warren/testing";

const RECOVERY_MS = 5000;
/** What a caller may see while something is down: an answer, "not now", or the limit of its own patience. */
const HONEST = new Set([200, 503, 504]);

async function everythingWorks(stack: TestStack, sessionId: string): Promise<boolean> {
  const chat = await stack.request("POST", "/v1/chat", { body: { message: "What's my name?", sessionId } });
  const tool = await stack.request("POST", "/v1/plugins/clock/tools/get_current_time:call", {
    body: { arguments: {} },
  });
  const secret = await stack.request("GET", "/v1/secrets/kept");
  const devices = await stack.request("GET", "/v1/devices");
  return (
    /Alice/.test(chat.text) &&
    tool.status === 200 &&
    String(secret.json["value"]) === "still here" &&
    devices.json["devices"]?.length === 1
  );
}

test("kill −9 of any one process during use", async (t) => {
  const stack = await startStack(t);
  const paired = await stack.warren(["pair", "--approve", "--name", "phone", "--json"]);
  assert.equal(paired.code, 0, paired.stderr);
  await stack.request("PUT", "/v1/secrets/kept", { body: { value: "still here" } });
  const started = await stack.request("POST", "/v1/chat", { body: { message: "My name is Alice." } });
  const sessionId = String(started.json["sessionId"]);
  assert.equal(await everythingWorks(stack, sessionId), true);

  for (const name of ["agent-1", "plugin-host-1", "auth-1", "secrets-1", "nats", "redis", "gateway-1"])
    await t.test(`${name}: callers get an honest answer, and everything works again within 5 s`, async () => {
      const strange: string[] = [];
      let using = true;
      const use = async (method: string, path: string, body?: object): Promise<void> => {
        while (using) {
          const answer = await stack
            .request(method, path, { ...(body ? { body } : {}), signal: AbortSignal.timeout(20_000) })
            // Only the gateway's own death may cut a connection.
            .catch((error: unknown): Pick<Answer, "status" | "text"> => ({
              status: name === "gateway-1" ? 503 : 0,
              text: String(error),
            }));
          if (!HONEST.has(answer.status)) strange.push(`${method} ${path}: ${answer.status} ${answer.text}`);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      };
      const users = [
        use("POST", "/v1/chat", { message: "What time is it?" }),
        use("POST", "/v1/plugins/clock/tools/get_current_time:call", { arguments: {} }),
        use("GET", "/v1/secrets/kept"),
        use("GET", "/v1/devices"),
      ];
      const pid = stack.pids()[name];
      assert.ok(pid);
      const killed = performance.now();
      process.kill(pid, "SIGKILL");
      try {
        await waitUntil("the recovery", RECOVERY_MS, async () =>
          (stack.pids()[name] ?? pid) !== pid && (await everythingWorks(stack, sessionId).catch(() => false))
            ? true
            : undefined,
        );
      } finally {
        using = false;
        await Promise.all(users);
      }
      t.diagnostic(`${name}: works again after ${Math.round(performance.now() - killed)} ms`);
      assert.deepEqual(strange, []);
    });
});
