// Every check of the project, in the order in which a fault is cheapest to find. Ends with "N passed, N failed".
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Outcome {
  readonly passed: number;
  readonly failed: number;
}

const COVERED = ["packages/*/src/**", "services/*/src/**", "cli/src/**", "plugins/*/src/**"];
const LINES_COVERED = 80;
/** No check takes longer: one that does has failed, and the rest still run. */
const LONGEST_MS = 30 * 60_000;
const only = process.argv.slice(2);

function run(command: string, args: readonly string[], keep: boolean): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], timeout: LONGEST_MS });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
        if (keep) process.stdout.write(chunk);
      });
    child.on("error", (error) => resolve({ code: 1, output: `${output}${error.message}` }));
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

/** A tool that is right or wrong as a whole; its words are shown when it is wrong. */
async function tool(command: string, ...args: string[]): Promise<Outcome> {
  const { code, output } = await run(command, args, false);
  if (code !== 0) console.log(output);
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

/**
 * A run of tests; one that finds none has failed. Files with failures are run once more, alone: what passes then fails only beside
 * others, and is named as such, for it is a fault of the test if not of the code.
 */
async function tests(more: readonly string[], files: string): Promise<Outcome> {
  const first = await testRun([...more, files]);
  const again = first.failures.filter((file) => existsSync(file));
  if (first.failed === 0 || again.length === 0 || again.length > MOST_AGAIN) return first;
  console.log(`\nOnce more, alone: ${again.join(" ")}`);
  const second = await testRun(["--test-concurrency=1", ...again]);
  if (second.failed > 0) return { passed: first.passed, failed: second.failed };
  console.log(`FLAKY  ${again.join(" ")}`);
  // What the first run counted as failed has now passed.
  return { passed: first.passed + first.failed, failed: first.otherwise };
}

/** More files than this with failures are no accident. */
const MOST_AGAIN = 4;

interface TestRun extends Outcome {
  /** Files with tests that failed. */
  readonly failures: readonly string[];
  /** 1 if the run failed beside its tests: by its coverage. */
  readonly otherwise: number;
}

async function testRun(args: readonly string[]): Promise<TestRun> {
  const options = ["--import", "./tools/test-watchdog.ts", "--test", "--test-timeout=120000"];
  const { code, output } = await run("node", [...options, ...args], true);
  const count = (name: string): number => Number(new RegExp(`^ℹ ${name} (\\d+)$`, "m").exec(output)?.[1] ?? 0);
  const passed = count("pass");
  const failed = count("fail") + count("cancelled");
  const otherwise = Number(passed === 0 || /^ℹ Error: .*coverage/m.test(output));
  const failures = new Set([...output.matchAll(/^test at (\S+?):\d+:\d+$/gm)].map(([, file = ""]) => file));
  return { passed, failed: Math.max(failed, code === 0 ? 0 : 1, otherwise), otherwise, failures: [...failures] };
}

/** What is committed beside what would be generated now, in a folder of its own: another run may be using proto/gen. */
async function drift(): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "warren-proto-"));
  try {
    const generated = join(folder, "proto/gen");
    for (const [command, ...args] of [
      ["buf", "generate", "--output", folder],
      ["node", "tools/proto-image.ts", generated],
      ["diff", "--recursive", "--brief", "proto/gen", generated],
    ] as const) {
      const { failed } = await tool(command, ...args);
      if (failed === 0) continue;
      console.log('proto/gen is not what proto/ generates: run "npm run proto" and commit it');
      return { passed: 0, failed: 1 };
    }
    return { passed: 1, failed: 0 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const coverage = [
  "--experimental-test-coverage",
  `--test-coverage-lines=${LINES_COVERED}`,
  ...COVERED.map((glob) => `--test-coverage-include=${glob}`),
];

const checks: Record<string, () => Promise<Outcome>> = {
  types: () => tool("tsc", "--noEmit"),
  lint: () => tool("oxlint", "--type-aware", "--deny-warnings"),
  format: () => tool("oxfmt", "--check", "."),
  "buf lint": () => tool("buf", "lint"),
  "buf breaking": () =>
    tool("buf", "breaking", "proto/gen/descriptors.binpb", "--exclude-imports", "--against", "proto/baseline.binpb"),
  "generated code": drift,
  tests: () =>
    tests(
      ["--test-concurrency=2", ...coverage],
      "{packages,services,cli,plugins,sdk,tools,deploy}/**/test/**/*.test.ts",
    ),
  "end to end": () => tests(["--test-concurrency=1"], "e2e/test/**/*.test.ts"),
};

let passed = 0;
let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  if (only.length > 0 && !only.includes(name)) continue;
  const started = performance.now();
  const outcome = await check();
  passed += outcome.passed;
  failed += outcome.failed;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${outcome.failed === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
