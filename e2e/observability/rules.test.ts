// The alert rules by Prometheus' own tool: they are valid, and each fires when it should and only then.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { findServer } from "@warren/testing";
import { parse } from "yaml";
import { PROMETHEUS, rules } from "./definitions.ts";

interface RuleTests {
  readonly tests: readonly {
    readonly alert_rule_test?: readonly { readonly alertname: string; readonly exp_alerts: readonly unknown[] }[];
    readonly promql_expr_test?: readonly { readonly expr: string; readonly exp_samples: readonly unknown[] }[];
  }[];
}

const TESTS = join(PROMETHEUS, "tests");
const files = readdirSync(TESTS).map((name) => join(TESTS, name));

function promtool(...args: string[]): Promise<{ failed: boolean; output: string }> {
  return new Promise((resolve) => {
    execFile(findServer("promtool"), args, (error, stdout, stderr) =>
      resolve({ failed: error !== null, output: stdout + stderr }),
    );
  });
}

test("configurations and rules are what Prometheus takes", async () => {
  for (const args of [
    ["check", "rules", join(PROMETHEUS, "rules/warren.yml")],
    ["check", "config", join(PROMETHEUS, "prometheus.yml")],
    ["check", "config", join(PROMETHEUS, "prometheus.local.yml")],
  ]) {
    const { failed, output } = await promtool(...args);
    assert.ok(!failed, output);
  }
});

for (const file of files)
  test(`alerts fire when they should and only then: ${file.slice(TESTS.length + 1)}`, async () => {
    const { failed, output } = await promtool("test", "rules", file);
    assert.ok(!failed, output);
  });

test("every alert is tested in a case where it fires and in one where it does not", () => {
  const cases = files
    .flatMap((file) => (parse(readFileSync(file, "utf8")) as RuleTests).tests)
    .flatMap(({ alert_rule_test: alerts = [], promql_expr_test: expressions = [] }) => [
      ...alerts.map(({ alertname, exp_alerts }) => ({ alert: alertname, fires: exp_alerts.length > 0 })),
      ...expressions.map(({ expr, exp_samples }) => ({
        alert: /alertname="(\w+)"/.exec(expr)?.[1],
        fires: exp_samples.length > 0,
      })),
    ]);
  for (const { alert } of rules)
    for (const fires of [true, false])
      assert.ok(
        cases.some((each) => each.alert === alert && each.fires === fires),
        `${alert} has no case where it ${fires ? "fires" : "does not fire"}`,
      );
});
