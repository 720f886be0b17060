// Alerts and dashboards on a real mesh that a real Prometheus watches, as a user has it. Minutes, not seconds: npm run test:observability
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { type PrometheusAlert, startPrometheus, startStack, type TestPrometheus, waitUntil } from "@warren/testing";
import { dashboardExpressions, type Expression, ruleExpressions, rules } from "./definitions.ts";
import { metricsIn, withoutVariables } from "./promql.ts";
import { shippedConfig } from "./shipped-config.ts";
import { metricsAddresses, SERVICES } from "./targets.ts";
import { useEverything } from "./traffic.ts";

const LIMITS = fileURLToPath(new URL("../../packages/testing/src/generous-limits.json", import.meta.url));
/** Some scrapes and evaluations, 15 s apart each, on a machine that has other work as well. */
const PATIENCE_MS = 180_000;

/** Those whose answer is empty, or no number. */
async function withoutData(prometheus: TestPrometheus, expressions: readonly Expression[]): Promise<Expression[]> {
  const found: Expression[] = [];
  for (const each of expressions) {
    const samples = await prometheus.query(withoutVariables(each.expr));
    if (!samples.some(({ value }) => !Number.isNaN(value))) found.push(each);
  }
  return found;
}

/** Resolves when Prometheus has read every service once more. */
async function nextScrape(prometheus: TestPrometheus): Promise<void> {
  const oldest = async (): Promise<number> =>
    (await prometheus.query('min(timestamp(up{job="warren"}))'))[0]?.value ?? 0;
  const before = await oldest();
  await waitUntil("the next scrape", PATIENCE_MS, async () => ((await oldest()) > before ? true : undefined));
}

test("a real Prometheus watches a real mesh", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "warren-observed-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const limits = join(folder, "limits.json");
  copyFileSync(LIMITS, limits);
  const stack = await startStack(t, { env: { WARREN_METRICS_PORT: "0", WARREN_LIMITS_FILE: limits } });
  const addresses = await metricsAddresses(stack);
  const { configFile, discover } = shippedConfig(folder);
  discover(addresses);
  const prometheus = await startPrometheus(t, configFile);
  const alertOf = async (name: string, service?: string): Promise<PrometheusAlert | undefined> =>
    (await prometheus.alerts()).find(
      ({ labels }) => labels["alertname"] === name && (service === undefined || labels["service"] === service),
    );
  const until = <T>(what: string, look: () => Promise<T | undefined>): Promise<T> => waitUntil(what, PATIENCE_MS, look);

  await t.test("every service is found and answers", async () => {
    await until("the first scrape of all services", async () => {
      const up = await prometheus.query('up{job="warren"} == 1');
      return up.length === SERVICES.length ? true : undefined;
    });
    const services = (await prometheus.query('up{job="warren"}')).map(({ metric }) => metric["service"] ?? "");
    assert.deepEqual(services.toSorted(), [...SERVICES].toSorted());
  });

  await t.test("every panel of every dashboard shows something once everything was used", async () => {
    let empty: Expression[] = [...dashboardExpressions];
    try {
      await until("data in every panel", async () => {
        await useEverything(stack);
        await nextScrape(prometheus);
        empty = await withoutData(prometheus, empty);
        return empty.length === 0 ? true : undefined;
      });
    } catch (cause) {
      throw new Error(`No data:\n${empty.map(({ where, expr }) => `${where}: ${expr}`).join("\n")}`, { cause });
    }
  });

  await t.test("every rule is evaluated without an error, on metrics that are there", async () => {
    const evaluated = await prometheus.rules();
    assert.deepEqual(
      evaluated.map(({ name, health, lastError = "" }) => [name, health, lastError]),
      rules.map(({ alert }) => [alert, "ok", ""]),
    );
    for (const { expr } of ruleExpressions) await prometheus.query(expr);
    const metrics = ruleExpressions.flatMap(({ where, expr }) =>
      metricsIn(expr).map((name) => ({ where, expr: name })),
    );
    assert.deepEqual(await withoutData(prometheus, metrics), []);
  });

  await t.test("a mesh that is well raises no alert that is critical", async () => {
    const firing = (await prometheus.alerts()).filter(({ state }) => state === "firing");
    assert.deepEqual(
      firing.filter(({ labels }) => labels["severity"] === "critical"),
      [],
    );
  });

  await t.test("one edit of the limits that is refused is seen to have happened, and raises its alert", async () => {
    const refused = 'warren_limit_policy_reloads_total{outcome="refused"}';
    assert.deepEqual(
      (await prometheus.query(refused)).map(({ value }) => value),
      [0],
    );
    writeFileSync(limits, "{ these are no limits");
    await until("the first refusal as an increase", async () => {
      const [sample] = await prometheus.query(`increase(${refused}[5m]) > 0`);
      return sample;
    });
    await until("WarrenLimitsRefused", async () =>
      (await alertOf("WarrenLimitsRefused"))?.state === "firing" ? true : undefined,
    );
    copyFileSync(LIMITS, limits);
  });

  await t.test(
    "a service that is stopped is absent, stays so out of discovery, and is not when it is back",
    async () => {
      const absent = (): Promise<PrometheusAlert | undefined> => alertOf("WarrenServiceAbsent", "agent");
      const agent = stack.pids()["agent-1"];
      assert.ok(agent !== undefined, "no agent runs");
      // A process that has ended would be started again; to whoever asks it, one that is held is as absent.
      process.kill(agent, "SIGSTOP");
      try {
        await until("WarrenServiceAbsent, pending", async () => ((await absent()) ? true : undefined));
        const firing = await until("WarrenServiceAbsent, firing", async () => {
          const alert = await absent();
          return alert?.state === "firing" ? alert : undefined;
        });
        assert.equal(firing.annotations["summary"], "No replica of agent answers");
        assert.ok(await alertOf("WarrenServiceDown", "agent"), "its replica is down as well");

        discover(new Map([...addresses].filter(([service]) => service !== "agent")));
        await until("the end of its last target", async () =>
          (await prometheus.query('up{service="agent"}')).length === 0 && !(await alertOf("WarrenServiceDown", "agent"))
            ? true
            : undefined,
        );
        const without = await absent();
        assert.equal(without?.state, "firing");
        assert.equal(without.activeAt, firing.activeAt, "it is one alert, without a gap");
      } finally {
        process.kill(agent, "SIGCONT");
      }
      discover(addresses);
      await until("the end of the alert", async () => ((await absent()) ? undefined : true));
    },
  );
});
