import assert from "node:assert/strict";
import { test } from "node:test";
import { CommandLineRefused, parseNpx } from "../../src/registry/command-line.ts";

test("a command line of npx is read into package and arguments", () => {
  assert.deepEqual(parseNpx("npx -y @scope/server@1.2.0 /srv/docs --flag 'two words' \"\""), {
    spec: "@scope/server@1.2.0",
    packageName: "@scope/server",
    args: ["/srv/docs", "--flag", "two words", ""],
  });
  assert.deepEqual(parseNpx("npx  server"), { spec: "server", packageName: "server", args: [] });
  assert.deepEqual(parseNpx("npx --yes server@^2.0.0 'a;b'").args, ["a;b"]);
});

const refused: [line: string, pattern: RegExp][] = [
  ["", /must begin with npx/],
  ["npx", /is not the name of a package/],
  ["npx -y a; rm -rf /", /No shell reads/],
  ["npx -y a && b", /No shell reads/],
  ["npx -y a | b", /No shell reads/],
  ["npx -y $(id)", /No shell reads/],
  ["npx -y `id`", /No shell reads/],
  ["npx -y a > /etc/passwd", /No shell reads/],
  ["npx -y a $HOME", /No shell reads/],
  ["npx -y a \\b", /No shell reads/],
  ["npx -y a 'open", /not closed/],
  ["npx -y a\nb", /control characters/],
  ["npx -y a\u0000", /control characters/],
  ["npx -p a b", /option -p is not offered/],
  ["npx -c 'rm -rf /'", /option -c is not offered/],
  ["npx --node-options=--inspect a", /is not offered/],
  ["npx -y https://example.com/a.tgz", /is not the name of a package/],
  ["npx -y git+ssh://example.com/a", /is not the name of a package/],
  ["npx -y github:a/b", /is not the name of a package/],
  ["npx -y a/b", /is not the name of a package/],
  ["npx -y ../a", /is not the name of a package/],
  ["npx -y /tmp/a", /is not the name of a package/],
  ["npx -y a@https://example.com/x", /is not the name of a package/],
  ["npx -y a@npm:b", /is not the name of a package/],
  ["npx -y a@file:b", /is not the name of a package/],
  ["npx -y @../a", /is not the name of a package/],
  ["node server.js", /must begin with npx/],
  [`npx -y a ${"b ".repeat(33)}`, /more than 32 arguments/],
];

for (const [line, pattern] of refused)
  test(`${JSON.stringify(line).slice(0, 60)} is refused`, () => {
    assert.throws(
      () => parseNpx(line),
      (error: unknown) => error instanceof CommandLineRefused && pattern.test(error.message),
    );
  });

test("uvx is refused as something that this version lacks", () => {
  assert.throws(
    () => parseNpx("uvx mcp-server-git"),
    (error: unknown) => error instanceof CommandLineRefused && error.unsupported,
  );
});
