import assert from "node:assert/strict";
import { test } from "node:test";
import { StatusCode } from "@warren/mesh";
import { createSessionIndex } from "../../src/session/index.ts";
import { createSessionLog } from "../../src/session/log.ts";
import { ownerPrefix, sessionIdOf, sessionKey } from "../../src/session/owner.ts";
import { memoryState } from "../helpers/memory-state.ts";

const alice = { tenant: "default", principal: "device:alice" };

test("owners' keys never meet, whatever their names hold", () => {
  const owners = [
    alice,
    { tenant: "default", principal: "device" },
    { tenant: "default.device", principal: "alice" },
    { tenant: "default", principal: "device.alice" },
    { tenant: "default", principal: "*" },
    { tenant: "default", principal: ">" },
    { tenant: "", principal: "x" },
  ];
  const prefixes = owners.map(ownerPrefix);
  assert.equal(new Set(prefixes).size, owners.length);
  for (const [index, prefix] of prefixes.entries()) {
    for (const other of prefixes.toSpliced(index, 1))
      assert.ok(!`${other}.`.startsWith(`${prefix}.`), `${prefix} ${other}`);
    assert.match(sessionKey(owners[index] ?? alice, "s_1"), /^[\w-]*\.[\w-]+\.[\w-]+$/);
  }
  assert.equal(sessionIdOf(sessionKey(alice, "s_a-b_c")), "s_a-b_c");
});

test("of two writers of one conversation, the second is ABORTED", async () => {
  const { log } = memoryState();
  const sessions = createSessionLog(log);
  const session = sessions.begin(alice);
  await session.append("t_1", { $case: "userMessage", value: { text: "Hi" } });
  const other = await sessions.open(alice, session.id);
  await other.append("t_2", { $case: "userMessage", value: { text: "Hi too" } });
  const late = session.append("t_1", { $case: "turnFailed", value: { reason: "x" } });
  await assert.rejects(late, { code: StatusCode.ABORTED });
  assert.equal(session.entries.length, 1);
});

test("entries that name another principal are nobody's session", async () => {
  const { log } = memoryState();
  const entry = { time: new Date(), turnId: "t", principal: "device:bob", entry: undefined };
  await log.append(sessionKey(alice, "s_1"), entry, 0);
  await assert.rejects(createSessionLog(log).open(alice, "s_1"), { code: StatusCode.NOT_FOUND });
});

test("what the index lacks is rebuilt from the log", async () => {
  const { log, index } = memoryState();
  const sessions = createSessionLog(log);
  const list = createSessionIndex(index, log, sessions);
  const session = sessions.begin(alice);
  await session.append("t_1", { $case: "userMessage", value: { text: "  Hello\n there " } });
  const first = await list.list(alice, { pageSize: 0, pageToken: "" });
  assert.deepEqual(
    first.sessions.map((each) => [each.id, each.title, each.messageCount]),
    [[session.id, "Hello there", 1]],
  );
  await list.update(session);
  index.values.clear();
  assert.deepEqual(await list.list(alice, { pageSize: 0, pageToken: "" }), first);
  assert.equal(index.values.size, 1);
});
