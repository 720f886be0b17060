import assert from "node:assert/strict";
import { posix } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { grants, missingGrants, parseHostScope, parsePermission, PermissionError } from "../src/index.ts";

test("every area has permissions that are read", () => {
  const examples = [
    "fs:read:/srv/docs",
    "fs:write:/srv/out",
    "fs:read:/",
    "fs:read:/with space/a:b",
    "net:outbound:api.example.com",
    "net:outbound:*.example.com:443",
    "net:outbound:*",
    "net:outbound:*:443",
    "net:outbound:10.0.0.1:80",
    "net:outbound:[2001:db8::1]:443",
    "net:listen:8080",
    "process:spawn",
    "process:spawn:ffmpeg",
    "system:info",
    "system:env:LANG",
    "ai:infer",
    "ai:infer:openai/gpt-4o",
    "ai:embed",
    "data:storage",
    "data:memory:pool",
    "data:context:user.*",
    "ui:notify",
    "ui:extend:sidebar",
    "events:publish:orders.new",
    "events:subscribe:orders.*",
    "secrets:lease:github.token",
  ];
  for (const text of examples) assert.equal(parsePermission(text).text, text);
  assert.deepEqual(parsePermission("fs:read:/srv/a:b"), {
    area: "fs",
    action: "read",
    scope: "/srv/a:b",
    text: "fs:read:/srv/a:b",
  });
  assert.deepEqual(parseHostScope("*.example.com:443"), { host: "example.com", wildcard: true, port: 443 });
  assert.deepEqual(parseHostScope("[::1]"), { host: "[::1]", wildcard: false, port: undefined });
});

test("what does not follow the grammar is refused", () => {
  const wrong = [
    "",
    "fs",
    "fs:",
    "fs:*",
    "*",
    "*:*",
    "fs:read",
    "fs:read:",
    "fs:delete:/a",
    "FS:read:/a",
    "disk:read:/a",
    "constructor:x",
    "fs:constructor:/a",
    "fs:read:docs",
    "fs:read:./a",
    "fs:read:/a/../b",
    "fs:read:/a//b",
    "fs:read:/a/",
    "fs:read:/a\0b",
    "fs:read:/a;maxBytes=1",
    "fs:read:/a\u202eb",
    "net:outbound",
    "net:outbound:",
    "net:outbound:a.*.com",
    "net:outbound:*a.com",
    "net:outbound:*.*.com",
    "net:outbound:*.",
    "net:outbound:Example.com",
    "net:outbound:example.com.",
    "net:outbound:example.com:0",
    "net:outbound:example.com:65536",
    "net:outbound:example.com:",
    "net:outbound:http://example.com",
    "net:outbound:example.com/a",
    "net:outbound:user@example.com",
    "net:outbound:a..b",
    "net:outbound:-a.com",
    "net:outbound:127.1",
    "net:outbound:2130706433",
    "net:outbound:0x7f.1",
    "net:outbound:0177.0.0.1",
    "net:outbound:*.0.0.1",
    "net:outbound:::1",
    "net:outbound:[::0001]",
    "net:outbound:[fe80::1%eth0]",
    "net:outbound:exa\0mple.com",
    "net:outbound:пример.рф",
    "net:listen:0",
    "net:listen:080",
    "net:listen:65536",
    "system:info:x",
    "system:env:",
    "system:env:A B",
    "events:publish:a.*.b",
    "events:publish:>",
    "events:publish:a..b",
    "secrets:lease",
    "secrets:lease:*",
    "secrets:lease:a..b",
    "secrets:lease:a/b",
    `fs:read:/${"a".repeat(600)}`,
  ];
  for (const text of wrong) assert.throws(() => parsePermission(text), PermissionError, JSON.stringify(text));
  assert.throws(() => parsePermission("fs:delete:/a"), /fs has no action "delete"; there is fs:read, fs:write/);
});

test("a grant covers what is inside it and nothing beside it", () => {
  const cases: [granted: string, wanted: string, covered: boolean][] = [
    ["fs:read:/srv/docs", "fs:read:/srv/docs", true],
    ["fs:read:/srv/docs", "fs:read:/srv/docs/a/b", true],
    ["fs:read:/srv/docs", "fs:read:/srv/docs-private", false],
    ["fs:read:/srv/docs", "fs:read:/srv", false],
    ["fs:read:/", "fs:read:/etc", true],
    ["fs:read:/srv", "fs:write:/srv", false],
    ["fs:write:/srv", "fs:read:/srv/x", true],
    ["net:outbound:example.com", "net:outbound:example.com:443", true],
    ["net:outbound:example.com:443", "net:outbound:example.com", false],
    ["net:outbound:example.com:443", "net:outbound:example.com:80", false],
    ["net:outbound:example.com", "net:outbound:a.example.com", false],
    ["net:outbound:*.example.com", "net:outbound:a.b.example.com:1", true],
    ["net:outbound:*.example.com", "net:outbound:example.com", false],
    ["net:outbound:*.example.com", "net:outbound:evilexample.com", false],
    ["net:outbound:*.example.com", "net:outbound:*.a.example.com", true],
    ["net:outbound:*.a.example.com", "net:outbound:*.example.com", false],
    ["net:outbound:a.example.com", "net:outbound:*.a.example.com", false],
    ["net:outbound:*", "net:outbound:*.example.com", true],
    ["net:outbound:*.example.com", "net:outbound:*", false],
    ["net:outbound:*:443", "net:outbound:example.com:443", true],
    ["net:outbound:*:443", "net:outbound:example.com", false],
    ["net:outbound:[::1]:80", "net:outbound:[::1]:80", true],
    ["process:spawn", "process:spawn:ffmpeg", true],
    ["process:spawn:ffmpeg", "process:spawn", false],
    ["ai:infer", "ai:embed", false],
    ["events:publish:orders.*", "events:publish:orders.new.eu", true],
    ["events:publish:orders.*", "events:publish:orders", false],
    ["events:publish:orders.*", "events:publish:ordersx.new", false],
    ["events:publish:*", "events:publish:a.*", true],
    ["events:publish:a.*", "events:subscribe:a.b", false],
    ["secrets:lease:a", "secrets:lease:a.b", false],
    ["net:listen:80", "net:listen:8080", false],
  ];
  for (const [granted, wanted, covered] of cases) {
    assert.equal(grants([granted], wanted), covered, `${granted} covers ${wanted}: ${covered}`);
  }
  assert.equal(grants([], "system:info"), false);
  assert.deepEqual(missingGrants(["fs:read:/a"], ["fs:read:/a/b", "fs:read:/b", "system:info"]), [
    "fs:read:/b",
    "system:info",
  ]);
});

const segment = fc.constantFrom("a", "b", "..", ".", "", "a b", "...", "é", "a;b", "ab");
const path = fc.array(segment, { maxLength: 5 }).map((segments) => `/${segments.join("/")}`);

test("a path that is granted never reaches outside the granted folder", () => {
  fc.assert(
    fc.property(path, path, (granted, wanted) => {
      let covered: boolean;
      try {
        covered = grants([`fs:read:${granted}`], `fs:read:${wanted}`);
      } catch (error) {
        assert.ok(error instanceof PermissionError);
        return;
      }
      // What the kernel would say: the way from one to the other goes only downwards.
      const way = posix.relative(granted, wanted);
      assert.equal(covered, !way.startsWith("../") && way !== "..");
    }),
    { numRuns: 3000 },
  );
});

const host = fc
  .array(fc.constantFrom("a", "b", "com", "example"), { minLength: 1, maxLength: 3 })
  .map((labels) => labels.join("."));
const permission = fc
  .oneof(
    path.map((each) => `fs:read:${each}`),
    path.map((each) => `fs:write:${each}`),
    fc
      .tuple(fc.constantFrom("", "*."), host, fc.constantFrom("", ":80", ":443"))
      .map(([star, name, port]) => `net:outbound:${star}${name}${port}`),
    fc.constantFrom("net:outbound:*", "net:outbound:*:80", "process:spawn", "process:spawn:x"),
    host.map((each) => `events:publish:${each}.*`),
    host.map((each) => `events:publish:${each}`),
  )
  .filter((text) => {
    try {
      parsePermission(text);
      return true;
    } catch {
      return false;
    }
  });

test("covering is reflexive and transitive", () => {
  fc.assert(
    fc.property(permission, permission, permission, (a, b, c) => {
      assert.ok(grants([a], a));
      if (grants([a], b) && grants([b], c)) assert.ok(grants([a], c), `${a} ⊇ ${b} ⊇ ${c}`);
    }),
    { numRuns: 3000 },
  );
});

test("any text is either a permission or a PermissionError", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: "binary" }),
        fc.string().map((s) => `net:outbound:${s}`),
        fc.string().map((s) => `fs:read:/${s}`),
      ),
      (text) => {
        try {
          assert.equal(parsePermission(text).text, text);
        } catch (error) {
          assert.ok(error instanceof PermissionError);
        }
      },
    ),
    { numRuns: 1000 },
  );
});
