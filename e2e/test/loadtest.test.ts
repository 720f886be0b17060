import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { runArrivals, schedule } from "../../loadtest/src/arrivals.ts";
import { profiles } from "../../loadtest/src/profiles.ts";

const MAIN = fileURLToPath(new URL("../../loadtest/src/main.ts", import.meta.url));
/** More than the three minutes that the run may take; less than a test file gets. */
const PATIENCE_MS = 280_000;

interface Summary {
  readonly passed: boolean;
  readonly outcomes: readonly {
    readonly scenario: string;
    readonly skipped?: string;
    readonly passed: boolean;
    readonly iterations: number;
    readonly verdicts: readonly { objective: string; found: string; held: boolean }[];
    readonly reasons: object;
  }[];
}

function loadtest(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("close", (code) => resolve({ code, output }));
  });
}

test("every scenario meets its objectives in the smoke profile", { timeout: PATIENCE_MS }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "warren-summary-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "summary.json");
  const { code, output } = await loadtest(["all", "--profile", "smoke", "--summary", file]);
  t.diagnostic(output);
  const summary = JSON.parse(readFileSync(file, "utf8")) as Summary;
  for (const { scenario, skipped, passed, iterations, verdicts, reasons } of summary.outcomes)
    await t.test(scenario, { skip: skipped ?? false }, () => {
      const broken = verdicts.filter(({ held }) => !held);
      assert.ok(passed, JSON.stringify({ broken, reasons }));
      assert.ok(iterations > 0);
    });
  assert.equal(code, summary.passed ? 0 : 1);
  assert.equal(summary.outcomes.length, 8);
});

test("what nobody knows is refused with what there is", async () => {
  const { code, output } = await loadtest(["nonsense"]);
  assert.equal(code, 2);
  assert.match(output, /chat .*\n.*streaming /);
});

test("arrivals are due as the stages say", () => {
  const due = schedule(10, [
    { rate: 10, seconds: 1 },
    { rate: 30, seconds: 1 },
  ]);
  assert.equal(due(0), 0);
  assert.equal(due(5), 500);
  // From 10 to 30 a second within a second: 20 more, half of which are due after (√500 − 10) / 20 s.
  assert.ok(Math.abs((due(20) ?? 0) - (1000 + ((Math.sqrt(500) - 10) / 20) * 1000)) < 0.01);
  assert.notEqual(due(29), undefined);
  assert.equal(due(30), undefined);
});

test("an arrival that finds too many running is dropped, and told: load does not wait for the system", async () => {
  const never = Promise.withResolvers<void>();
  const running = runArrivals({
    from: 200,
    stages: [{ rate: 200, seconds: 0.1 }],
    maxInFlight: 5,
    iterate: () => never.promise,
    signal: new AbortController().signal,
  });
  setTimeout(never.resolve, 300);
  const { started, dropped } = await running;
  assert.deepEqual([started, dropped], [5, 15]);
});

test("profiles are apart from scenarios, and each says what must hold", () => {
  assert.deepEqual(Object.keys(profiles), ["smoke", "load", "stress", "spike", "soak"]);
  for (const { objectives, stages } of Object.values(profiles)) {
    assert.ok(objectives.p99Ms > 0 && objectives.errors >= 0);
    assert.ok(stages(10).every(({ rate, seconds }) => rate > 0 && seconds > 0));
  }
  assert.equal(profiles["load"]?.objectives.p99Ms, 25);
});
