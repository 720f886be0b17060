import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { defaultPolicy, limitsFor, parsePolicy } from "../../src/limits/policy.ts";
import { readPolicyFile } from "../../src/limits/policy-source.ts";
import { policySchemaText } from "../../src/limits/schema-file.ts";

const anonymous = { address: "192.0.2.1", principal: undefined, tenant: undefined, limitClass: "", endpoint: "/x" };
const known = { ...anonymous, principal: "device:d", tenant: "default" };

test("by default the limits are those that the guide gives", () => {
  const limits = parsePolicy(defaultPolicy).limits.map(
    ({ name, algorithm, key, limit, periodMicros, burst, classes }) => [
      name,
      algorithm,
      key,
      limit,
      periodMicros / 1e6,
      burst,
      ...(classes ?? []),
    ],
  );
  assert.deepEqual(limits, [
    ["global", "bucket", "global", 20, 1, 100],
    ["ip", "window", "ip", 60, 60, 60],
    ["ip-56", "window", "ip", 240, 60, 240],
    ["ip-48", "window", "ip", 960, 60, 960],
    ["principal", "window", "principal", 120, 60, 120],
    ["chat", "window", "principal", 10, 60, 10, "chat"],
    ["query", "window", "principal", 5, 60, 5, "query"],
    ["pairing", "window", "ip", 5, 300, 5, "pairing"],
    ["token", "window", "ip", 10, 60, 10, "token"],
  ]);
});

test("a request meets the limits of everybody, of its class, and of who it is", () => {
  const policy = parsePolicy(defaultPolicy);
  const names = (subject: Parameters<typeof limitsFor>[1]): string[] =>
    limitsFor(policy, subject).map(({ limit }) => limit.name);
  assert.deepEqual(names(anonymous), ["global", "ip"]);
  assert.deepEqual(names({ ...anonymous, address: "2001:db8::1" }), ["global", "ip", "ip-56", "ip-48"]);
  assert.deepEqual(names({ ...known, address: undefined }), ["global", "principal"]);
  assert.deepEqual(names(known), ["global", "ip", "principal"]);
  assert.deepEqual(names({ ...known, limitClass: "chat" }), ["global", "ip", "principal", "chat"]);
  assert.deepEqual(names({ ...anonymous, limitClass: "pairing" }), ["global", "ip", "pairing"]);
});

test("callers share a counter exactly when they share what the limit goes by", () => {
  const limits = (["global", "ip", "principal", "tenant", "endpoint"] as const).map((key) => ({
    name: key,
    algorithm: "window" as const,
    key,
    limit: 1,
    period: 1,
    classes: ["c"],
  }));
  const keysOf = (subject: Parameters<typeof limitsFor>[1]) =>
    limitsFor(parsePolicy({ limits }), { ...subject, limitClass: "c" }).map(
      ({ limit, key }) => [limit.name, key] as const,
    );
  const base = new Map(keysOf(known));
  const differing = (other: Partial<typeof known>): string[] =>
    keysOf({ ...known, ...other })
      .filter(([name, key]) => base.get(name) !== key)
      .map(([name]) => name);
  assert.deepEqual(differing({}), []);
  assert.deepEqual(differing({ address: "192.0.2.2" }), ["ip"]);
  assert.deepEqual(differing({ principal: "device:e" }), ["principal"]);
  assert.deepEqual(differing({ tenant: "other" }), ["tenant"]);
  assert.deepEqual(differing({ endpoint: "/y" }), ["endpoint"]);
  const nobody = keysOf(anonymous).map(([name]) => name);
  assert.deepEqual(
    nobody,
    ["global", "ip", "principal", "endpoint"],
    "without a token a principal's limit is the address's",
  );
});

test("a changed limit counts anew, an unchanged one goes on", () => {
  const keyOf = (more: object): string | undefined =>
    limitsFor(
      parsePolicy({ limits: [{ name: "a", algorithm: "bucket", key: "global", limit: 1, period: 1, ...more }] }),
      anonymous,
    )[0]?.key;
  assert.equal(keyOf({}), keyOf({ burst: 1 }));
  assert.equal(keyOf({}), keyOf({ shadow: true }));
  assert.notEqual(keyOf({}), keyOf({ limit: 2 }));
  assert.notEqual(keyOf({}), keyOf({ period: 2 }));
});

test("a policy that cannot be meant is refused with what is wrong", () => {
  const limit = { name: "a", algorithm: "window", key: "ip", limit: 1, period: 1 };
  const table: [input: unknown, wrong: RegExp][] = [
    [{}, /limits/],
    [{ limits: [{ ...limit, limit: 0 }] }, /limit/],
    [{ limits: [{ ...limit, period: -1 }] }, /period/],
    [{ limits: [{ ...limit, algorithm: "leaky" }] }, /algorithm/],
    [{ limits: [{ ...limit, key: "cookie" }] }, /key/],
    [{ limits: [{ ...limit, name: "A b" }] }, /name/],
    [{ limits: [{ ...limit, cost: 2 }] }, /no request would pass/],
    [{ limits: [{ ...limit, burst: 2 }] }, /burst belongs/],
    [{ limits: [{ ...limit, perod: 2 }] }, /perod/],
    [{ limits: [{ ...limit, prefix: 60 }] }, /prefix/],
    [{ limits: [{ ...limit, key: "global", prefix: 48 }] }, /prefix belongs/],
    [{ limits: [{ name: "a", algorithm: "window", key: "ip", limit: 1 }] }, /need a period/],
    [{ limits: [{ ...limit, algorithm: "concurrency" }] }, /no period/],
    [{ limits: [{ name: "a", algorithm: "concurrency", key: "ip", limit: 1.5 }] }, /whole number/],
    [{ limits: [{ name: "a", algorithm: "concurrency", key: "ip", limit: 1, lease: true }] }, /cannot be leased/],
    [{ limits: [{ ...limit, unit: "tokens", limit: 5000, lease: true }] }, /cannot be leased/],
    [{ limits: [{ ...limit, unit: "tokens", limit: 5000, cost: 1.5 }] }, /tokens are whole/],
    [{ limits: [limit, limit] }, /same name/],
  ];
  for (const [input, wrong] of table) assert.throws(() => parsePolicy(input), wrong, JSON.stringify(input));
});

test("a limits file takes the place of the defaults, and a bad one names itself", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "warren-policy-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const limitsFile = join(folder, "limits.json");
  writeFileSync(
    limitsFile,
    JSON.stringify({ limits: [{ name: "all", algorithm: "window", key: "global", limit: 7, period: 1 }] }),
  );
  assert.deepEqual(
    readPolicyFile(limitsFile).limits.map(({ name }) => name),
    ["all"],
  );
  writeFileSync(limitsFile, "{");
  assert.throws(() => readPolicyFile(limitsFile), /WARREN_LIMITS_FILE.*limits\.json/);
  writeFileSync(limitsFile, JSON.stringify({ limits: [{ name: "all" }] }));
  assert.throws(() => readPolicyFile(limitsFile), /algorithm/);
  assert.throws(() => readPolicyFile(join(folder, "missing")), /missing/);
});

test("the published schema is that of the code", () => {
  const published = readFileSync(new URL("../../../../docs/reference/limits.schema.json", import.meta.url), "utf8");
  assert.deepEqual(
    JSON.parse(published),
    JSON.parse(policySchemaText()),
    "it differs: run node services/gateway/src/limits/write-schema.ts, then npm run format",
  );
});

test("what is leased: wide limits, and generous ones of a single caller; small quotas never, others as they say", () => {
  const reserveOf = (entry: object): number | undefined =>
    parsePolicy({ limits: [{ name: "a", algorithm: "window", period: 60, ...entry }] }).limits[0]?.reserve;
  assert.equal(reserveOf({ key: "global", limit: 1000 }), 50);
  assert.equal(reserveOf({ key: "global", limit: 999 }), 0);
  assert.equal(reserveOf({ key: "principal", limit: 9999 }), 0);
  assert.equal(reserveOf({ key: "principal", limit: 10_000 }), 500);
  assert.equal(reserveOf({ key: "principal", limit: 10_000, lease: false }), 0);
  assert.equal(reserveOf({ key: "principal", limit: 1000, lease: true }), 50);
});
