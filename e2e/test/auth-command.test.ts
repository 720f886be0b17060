// `warren auth …` against a whole mesh, as its operator uses it.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { startStack, waitUntil } from "@warren/testing";
import { stepOf, totpAt } from "../../services/auth/src/factors/totp-code.ts";

/** What the commands print, all together. */
interface Printed {
  readonly token: string;
  readonly key: { readonly id: string };
  readonly keys: readonly object[];
  readonly secret: string;
  readonly codes: readonly [string, string];
  readonly devices: readonly [{ readonly id: string }];
  readonly sessions: readonly object[];
  readonly kid: string;
  readonly entries: readonly { readonly traceId: string }[];
}

test("the operator's side of auth, from the command line", async (t) => {
  const stack = await startStack(t, { pluginHosts: 1 });
  const auth = async (...words: string[]): Promise<{ code: number; stderr: string; json: Printed }> => {
    const { code, stdout, stderr } = await stack.warren(["auth", ...words, "--json"]);
    return { code, stderr, json: JSON.parse(stdout || "{}") as Printed };
  };
  const ok = async (...words: string[]): Promise<Printed> => {
    const { code, stderr, json } = await auth(...words);
    assert.equal(code, 0, `warren auth ${words.join(" ")}: ${stderr}`);
    return json;
  };
  const bearer = async (token: string): Promise<number> =>
    (await stack.request("GET", "/v1/session", { token })).status;

  await t.test("makes, lists and ends keys", async () => {
    const { token, key } = await ok("keys", "create", "CI", "--role", "viewer", "--expires", "2h");
    await waitUntil("the key", 5000, async () => ((await bearer(token)) === 200 ? true : undefined));
    assert.partialDeepStrictEqual((await ok("keys", "list")).keys, [{ id: key.id, name: "CI" }]);
    await ok("keys", "revoke", key.id);
    await waitUntil("its end", 5000, async () => ((await bearer(token)) === 401 ? true : undefined));
  });

  await t.test("sets up one-time passwords, pairs with one, and ends them", async () => {
    const { secret } = await ok("totp", "enroll");
    const password = (steps = 0): string => totpAt(secret, stepOf(Date.now()) + steps);
    const { codes } = await ok("totp", "verify", password());
    assert.equal(codes.length, 10);

    const profile = join(stack.dataDir, "profile.json");
    const device = (...words: string[]) => stack.warren([...words, "--profile", profile, "--json"]);
    const bare = await device("pair", "--approve");
    assert.equal(bare.code, 4, "the code alone does not do");
    // The password of the set-up is spent: that of the next step is taken, for a phone may be ahead.
    const paired = await device("pair", "--approve", "--role", "user", "--totp", password(1));
    assert.equal(paired.code, 0, paired.stderr);
    const { tokenType, accessToken = "" } = JSON.parse(readFileSync(profile, "utf8")) as Record<string, string>;
    assert.equal(tokenType, "DPoP");
    assert.equal(await bearer(accessToken), 401, "a copy of the token alone is worth nothing");
    const status = await device("auth", "status");
    assert.partialDeepStrictEqual(JSON.parse(status.stdout), { kind: "device", proofRequired: true });
    assert.equal((await device("auth", "keys")).code, 4);

    const fresh = await ok("recovery", "codes", "--recovery-code", codes[0]);
    await ok("totp", "disable", "--recovery-code", fresh.codes[0]);
    assert.partialDeepStrictEqual(await ok("totp"), { enabled: false, recoveryCodesLeft: 0 });
  });

  await t.test("ends devices and sessions", async () => {
    const { devices } = await ok("devices", "list");
    assert.equal((await stack.request("POST", "/v1/session")).status, 201);
    assert.partialDeepStrictEqual((await ok("sessions", "list")).sessions, [{ principal: "operator" }]);
    await ok("sessions", "revoke", "--all");
    assert.deepEqual((await ok("sessions")).sessions, []);
    await ok("devices", "revoke", devices[0].id);
  });

  await t.test("rotates the key that signs tokens", async () => {
    const { kid } = await ok("rotate-signing-key", "--revoke-tokens");
    assert.partialDeepStrictEqual((await ok("signing-keys")).keys, [{ kid, current: true }]);
  });

  await t.test("reads the audit, with the trace of each decision", async () => {
    await stack.request("GET", "/v1/secrets", { token: "wrong" });
    const entries = await waitUntil("the denial", 20_000, async () => {
      const found = await ok("audit", "--outcome", "denied", "--action", "GET /v1/secrets");
      return found.entries.length > 0 ? found.entries : undefined;
    });
    assert.partialDeepStrictEqual(entries, [{ principal: "anonymous", reason: "UNAUTHENTICATED" }]);
    assert.match(entries[0]?.traceId ?? "", /^[0-9a-f]{32}$/);
  });

  await t.test("and gets back in on the machine itself, without token and network", async () => {
    await ok("recovery", "local", "--operator-token");
    await waitUntil("the old token's end", 20_000, async () =>
      (await bearer(stack.token)) === 401 ? true : undefined,
    );
    assert.ok(!existsSync(join(stack.dataDir, "operator-token.recover")));
    const now = readFileSync(join(stack.dataDir, "operator-token"), "utf8").trim();
    await waitUntil("the new token", 5000, async () => ((await bearer(now)) === 200 ? true : undefined));
    assert.partialDeepStrictEqual(await ok("status"), { principal: "operator", scopes: ["*"] });
  });
});
