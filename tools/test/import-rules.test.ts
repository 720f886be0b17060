import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Where a file stands, what it imports, and whether that is allowed. */
const CASES: readonly [file: string, imported: string, allowed: boolean][] = [
  ["services/gateway/src/a.ts", "@warren/auth/app", false],
  ["services/gateway/src/a.ts", "../../../services/auth/src/app.ts", false],
  ["services/gateway/src/a.ts", "@warren/testing", false],
  ["services/gateway/src/a.ts", "@nats-io/transport-node", false],
  ["services/gateway/src/limits/a.ts", "../app.ts", false],
  ["services/gateway/src/a.ts", "@warren/mesh", true],
  ["services/gateway/src/a.ts", "@warren/proto/warren/auth/v1/auth", true],
  ["services/gateway/src/main.ts", "./app.ts", true],
  ["packages/contract/src/a.ts", "@warren/mesh", false],
  ["packages/contract/src/a.ts", "@warren/proto/warren/auth/v1/auth", true],
  ["packages/mesh/src/a.ts", "@warren/service", false],
  ["packages/mesh/src/a.ts", "@warren/contract", true],
  ["packages/service/src/a.ts", "@warren/local-stack", false],
  ["packages/service/src/a.ts", "@warren/mesh", true],
  ["packages/plugin-manifest/src/a.ts", "@warren/proto/warren/auth/v1/auth", false],
  ["packages/plugin-sdk/src/a.ts", "zod", false],
  ["packages/plugin-sdk/src/a.ts", "node:net", true],
  ["packages/local-stack/src/a.ts", "@warren/service", false],
  ["packages/local-stack/src/a.ts", "@warren/mesh/policy", true],
  ["packages/bootstrap/src/a.ts", "@warren/mesh/policy", true],
  ["packages/bootstrap/src/a.ts", "@warren/local-stack", false],
  ["services/agent/src/a.ts", "@warren/bootstrap", false],
  ["cli/src/a.ts", "@warren/bootstrap", true],
  ["cli/src/a.ts", "@warren/mesh", false],
  ["cli/src/a.ts", "@nats-io/transport-node", false],
  ["cli/src/a.ts", "@warren/local-stack", true],
  ["plugins/clock/src/a.ts", "@warren/mesh", false],
  ["plugins/clock/src/a.ts", "@warren/plugin-sdk", true],
];

/** Whether the linter finds a rule broken in a file of this text at this place of the tree. */
function breaks(rule: string, file: string, text: string): boolean {
  const folder = mkdtempSync(join(tmpdir(), "warren-rules-"));
  try {
    copyFileSync(join(ROOT, ".oxlintrc.json"), join(folder, ".oxlintrc.json"));
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
    const { stdout } = spawnSync("oxlint", ["-f", "unix"], { cwd: folder, encoding: "utf8" });
    return stdout.includes(`(${rule})`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const [file, imported, allowed] of CASES)
  test(`${file} ${allowed ? "may" : "may not"} import ${imported}`, () => {
    const text = `import { thing } from "${imported}";\n\nexport const other = thing;\n`;
    assert.equal(breaks("no-restricted-imports", file, text), !allowed);
  });

test("only config.ts reads the environment", () => {
  const text = 'export const home = process.env["HOME"];\n';
  assert.equal(breaks("no-process-env", "services/gateway/src/limits/a.ts", text), true);
  assert.equal(breaks("no-process-env", "services/gateway/src/config.ts", text), false);
});

test("only main.ts connects to the mesh", () => {
  const text = 'import { connectMesh } from "@warren/mesh";\n\nexport const mesh = connectMesh;\n';
  assert.equal(breaks("no-restricted-imports", "services/gateway/src/app.ts", text), true);
});
