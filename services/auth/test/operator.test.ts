import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startNats } from "@warren/testing";
import { OperatorTokenError, operatorToken, registerOperator } from "../src/operator.ts";
import { openStores } from "../src/stores.ts";
import { testClock } from "./support/clock.ts";
import { apart } from "./support/stores.ts";

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "warren-operator-"));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

test("the operator's token is made once, for its owner's eyes alone", async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, "data", "operator-token");
  const token = await operatorToken(path);
  assert.match(token, /^wop_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(join(folder, "data"))).mode & 0o777, 0o700);
  assert.equal((await readFile(path, "utf8")).trim(), token);
  assert.equal(await operatorToken(path), token);
  assert.deepEqual(await readdir(join(folder, "data")), ["operator-token"]);
});

test("of replicas that start on one machine at the same time, one makes the token", async (t) => {
  const path = join(await temporaryFolder(t), "operator-token");
  const tokens = await Promise.all(Array.from({ length: 10 }, () => operatorToken(path)));
  assert.equal(new Set(tokens).size, 1);
});

test("a token that others may have read is refused, with what to do", async (t) => {
  const path = join(await temporaryFolder(t), "operator-token");
  const token = await operatorToken(path);
  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    await chmod(path, mode);
    await assert.rejects(operatorToken(path), (error: Error) => {
      assert.ok(error instanceof OperatorTokenError);
      assert.match(error.message, /chmod 600/);
      return !error.message.includes(token);
    });
  }
});

test("what is no token is refused: other text, a link, a folder", async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, "operator-token");
  await writeFile(path, "hunter2\n", { mode: 0o600 });
  await assert.rejects(operatorToken(path), (error: Error) => {
    assert.match(error.message, /holds no operator token/);
    return error instanceof OperatorTokenError && !error.message.includes("hunter2");
  });
  await symlink(path, join(folder, "link"));
  await assert.rejects(operatorToken(join(folder, "link")), /symbolic link/);
  await assert.rejects(operatorToken(folder), /is no file/);
});

test("the gateway is told the token by its hash", async (t) => {
  const nats = await startNats(t);
  const shared = await openStores(await nats.connect("auth"));
  const folder = await temporaryFolder(t);
  const token = await operatorToken(join(folder, "one"));
  const hash = createHash("sha256").update(token).digest("hex");

  await t.test("once, and again where the bucket has lost it", async () => {
    const clock = testClock();
    for (const { credentials } of [apart(shared), apart(shared)]) {
      const id = await registerOperator({ credentials, token, clock: clock.now });
      const createdAt = clock.now();
      clock.advance(1000);
      assert.equal(await registerOperator({ credentials, token, clock: clock.now }), id);
      assert.equal(token.split("_")[1], id);
      assert.deepEqual(
        (await credentials.entries()).map((entry) => entry.value),
        [{ kind: "operator", hash, principal: "operator", tenant: "default", scopes: ["*"], createdAt }],
      );
    }
  });

  await t.test("beside those of other machines", async () => {
    const { credentials } = apart(shared);
    const other = await operatorToken(join(folder, "two"));
    for (const each of [token, other]) await registerOperator({ credentials, token: each, clock: Date.now });
    assert.equal((await credentials.entries()).length, 2);
  });

  await t.test("in place of one that was replaced under its id", async () => {
    const { credentials } = apart(shared);
    const changed = `${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`;
    for (const each of [changed, token]) await registerOperator({ credentials, token: each, clock: Date.now });
    assert.deepEqual(
      (await credentials.entries()).map((entry) => entry.value.hash),
      [hash],
    );
  });
});
