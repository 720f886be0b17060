import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { stepOf, totpAt } from "../../src/factors/totp-code.ts";
import { recoveryFile } from "../../src/recovery/local.ts";
import { startAuth } from "../support/harness.ts";

test("who sits at the machine gets back in, and the audit has it", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "warren-recovery-"));
  t.after(() => rm(folder, { recursive: true }));
  const operatorTokenFile = join(folder, "operator-token");
  const file = recoveryFile(operatorTokenFile);
  const harness = await startAuth(t, { settings: { operatorTokenFile } });
  const { service, access, operator, clock, stores, events, logged } = harness;
  const ask = (request: unknown, mode = 0o600): Promise<void> => writeFile(file, JSON.stringify(request), { mode });
  const token = async (): Promise<string> => (await readFile(operatorTokenFile, "utf8")).trim();
  const isLeft = (): Promise<boolean> =>
    readFile(file).then(
      () => true,
      () => false,
    );

  const { secret } = await access.enrollTotp({}, operator);
  await access.verifyTotp({ totp: totpAt(secret, stepOf(clock.now())) }, operator);
  const before = await token();

  await t.test("but not by a file that others could have written", async () => {
    for (const spoil of [
      async () => {
        await ask({ end: ["totp"] });
        await chmod(file, 0o666);
      },
      async () => {
        await writeFile(join(folder, "elsewhere"), JSON.stringify({ end: ["totp"] }), { mode: 0o600 });
        await symlink(join(folder, "elsewhere"), file);
      },
      () => ask({ end: ["everything"] }),
      () => ask({ end: [] }),
      () => ask(["totp"]),
      () => writeFile(file, "not JSON", { mode: 0o600 }),
      () => writeFile(file, "x".repeat(2000), { mode: 0o600 }),
    ]) {
      await spoil();
      await service.recover();
      assert.equal((await access.getTotp({}, operator)).enabled, true);
      assert.match(logged.at(-1) ?? "", /could not be followed/);
      await rm(file);
    }
    assert.equal(await token(), before);
  });

  await t.test("the one-time passwords end", async () => {
    await ask({ end: ["totp"] });
    await service.recover();
    assert.deepEqual([(await access.getTotp({}, operator)).enabled, await isLeft()], [false, false]);
  });

  await t.test("the operator's token is another, and the old one is out", async () => {
    await ask({ end: ["operator-token"] });
    await service.recover();
    const after = await token();
    assert.notEqual(after, before);
    const idOf = (text: string): string => text.split("_")[1] ?? "";
    const old = (await stores.credentials.get(idOf(before)))?.value;
    assert.deepEqual([old?.hash, typeof old?.revokedAt], ["", "number"]);
    assert.partialDeepStrictEqual((await stores.credentials.get(idOf(after)))?.value, {
      principal: "operator",
      scopes: ["*"],
    });
    assert.ok(!logged.join().includes(after));
  });

  await service.close();
  const told = events.filter(({ type }) => type === "DecisionMade").map(({ event }) => event);
  assert.partialDeepStrictEqual(
    told.filter((event) => "principal" in event && event.principal === "local"),
    [
      { action: "recovery.local", resource: "totp", allowed: true },
      { action: "recovery.local", resource: "operator-token", allowed: true },
    ],
  );
});
