import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import test from "node:test";
import { type Json, startStack, waitUntil } from "@warren/testing";
import { dashboardExpressions, dashboards, read, ruleExpressions, rules } from "../observability/definitions.ts";
import { countedIn, metricsIn } from "../observability/promql.ts";
import { baseName, metricsAddresses, samplesIn, scrape, SERVICES, typesIn } from "../observability/targets.ts";

const ROOT = new URL("../../", import.meta.url);
/** Made by Prometheus itself. */
const OF_PROMETHEUS = new Set(["up"]);
/** Their series are as many as what may be asked for; alerts look at shares and quantiles of what was. */
const BY_REQUEST = new Set([
  "http_server_request_duration_seconds",
  "rpc_server_duration_seconds",
  "warren_plugin_call_duration_seconds",
]);
const CANARY = "canary-secret-91c2";

/** Spans as lines, each indented below its parent; what JetStream did is told once for each kind. */
function draw(spans: readonly Json[], parent: string, depth = 0): string[] {
  const lines = spans
    .filter((span) => String(span["parentSpanId"]) === parent)
    .toSorted((a, b) => Date.parse(String(a["startTime"])) - Date.parse(String(b["startTime"])))
    .flatMap((span) => [
      `${"  ".repeat(depth)}${String(span["service"])}: ${String(span["name"])}`,
      ...draw(spans, String(span["spanId"]), depth + 1),
    ]);
  return lines.filter((line, i) => !line.includes(": nats ") || lines.indexOf(line) === i);
}

test("a mesh can be observed", async (t) => {
  const stack = await startStack(t, { env: { WARREN_METRICS_PORT: "0" } });
  const addresses = await metricsAddresses(stack);
  const untouched = await scrape(addresses);
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  const parent = "00f067aa0ba902b7";
  await stack.request("PUT", "/v1/secrets/kept", { body: { value: CANARY } });
  await stack.request("GET", "/v1/secrets/kept");
  await stack.request("GET", "/v1/devices");
  const chat = await stack.request("POST", "/v1/chat", {
    body: { message: `What time is it? ${CANARY}` },
    headers: { traceparent: `00-${traceId}-${parent}-01` },
  });
  assert.equal(chat.status, 200, chat.text);
  const metrics = await scrape(addresses);

  await t.test("one request's traceparent leads to one whole tree over every hop", async () => {
    assert.equal(chat.headers.get("traceparent")?.split("-")[1], traceId);
    const spans = await waitUntil("the whole trace", 10_000, async () => {
      const { json } = await stack.request("GET", `/v1/traces/${traceId}`);
      const found = [...(json["spans"] ?? [])];
      return found.some((span) => String(span["parentSpanId"]) === parent) ? found : undefined;
    });
    const tree = draw(spans, parent);
    assert.deepEqual(
      tree.filter((line) => !line.includes(": nats ")),
      [
        "gateway: POST /v1/chat",
        "  gateway: redis FCALL",
        "  gateway: warren.agent.v1.AgentService/Chat",
        "    agent: warren.agent.v1.AgentService/Chat",
        "      agent: invoke_agent warren",
        "        agent: chat offline",
        "        agent: execute_tool get_current_time",
        "          agent: warren.plugins.v1.PluginService/CallTool",
        "            plugin-host: warren.plugins.v1.PluginService/CallTool",
        "              plugin-host: tools/call get_current_time",
        "                plugin:clock: execute_tool get_current_time",
        "        agent: chat offline",
      ],
      tree.join("\n"),
    );
    assert.ok(tree.includes("        agent: nats appending to agent_sessions"), tree.join("\n"));
    const drawn = new Set<string>([parent]);
    for (let size = 0; size < drawn.size;) {
      size = drawn.size;
      for (const span of spans) if (drawn.has(String(span["parentSpanId"]))) drawn.add(String(span["spanId"]));
    }
    assert.equal(drawn.size - 1, spans.length, "a span has lost its parent");
  });

  await t.test("every service serves its metrics, on this machine only", () => {
    assert.deepEqual([...metrics.keys()].toSorted(), [...SERVICES].toSorted());
    for (const [service, text] of metrics) {
      assert.match(text, new RegExp(`^warren_service_info\\{service="${service}",`, "m"));
      for (const name of ["warren_mesh_up 1", "rpc_server_active_requests ", "nodejs_eventloop_lag_p99_seconds "])
        assert.ok(text.includes(`\n${name}`), `${service}: ${name}`);
    }
    const counted: readonly [string, RegExp][] = [
      ["agent", /^warren_agent_turn_duration_seconds_count\{outcome="completed"\} 1$/m],
      ["agent", /^warren_agent_tool_calls_total\{plugin="clock",outcome="ok"\} 1$/m],
      ["agent", /^warren_agent_tokens_total\{model="offline",direction="output"\} [1-9]/m],
      ["plugin-host", /^warren_plugin_call_duration_seconds_count\{plugin="clock",outcome="ok"\} 1$/m],
      ["plugin-host", /^warren_plugin_memory_bytes\{plugin="clock"\} [1-9]/m],
      [
        "plugin-host",
        /^rpc_server_duration_seconds_count\{method="warren\.plugins\.v1\.PluginService\/CallTool",code="OK"\} 1$/m,
      ],
      ["secrets", /^warren_secret_accesses_total\{action="get",outcome="audited"\} 1$/m],
      ["auth", /^warren_auth_decisions_total\{action="listDevices",outcome="granted"\} 1$/m],
      ["gateway", /^warren_access_decisions_total\{check="authorization",outcome="granted"\} [1-9]/m],
      ["gateway", /^rpc_client_duration_seconds_count\{method="warren\.agent\.v1\.AgentService\/Chat",code="OK"\} 1$/m],
    ];
    for (const [service, line] of counted) assert.match(metrics.get(service) ?? "", line);
  });

  await t.test("what alerts count is there at 0 before it happens, so that its first time is not missed", () => {
    const text = [...untouched.values()].join("\n");
    const types = typesIn(text);
    const samples = samplesIn(text);
    for (const { where, expr } of ruleExpressions)
      for (const { metric, matches, text: selector } of countedIn(expr)) {
        const name = baseName(metric, types);
        if (types.get(name) === "gauge" || BY_REQUEST.has(name)) continue;
        const found = samples.filter((sample) => sample.name === metric && matches(sample.labels));
        assert.ok(found.length > 0, `${where}: no series of ${selector} before its first event: see startAtZero`);
        // All decisions of a limit count those of the start, too: what has no labels chosen is no fault.
        for (const { labels, value } of selector === metric ? [] : found)
          assert.equal(value, 0, `${selector} ${JSON.stringify(labels)}`);
      }
  });

  await t.test("labels hold no ids, no token, and nothing that anybody said", () => {
    const session = String(chat.json["sessionId"]);
    for (const text of metrics.values())
      for (const hidden of [CANARY, stack.token, session, "kept", traceId]) assert.ok(!text.includes(hidden), hidden);
  });

  await t.test("every metric in a dashboard or an alert is really exported, and each of ours is in one", () => {
    const exported = typesIn([...metrics.values()].join("\n"));
    const shown = new Set<string>();
    for (const { where, expr } of [...ruleExpressions, ...dashboardExpressions]) {
      const names = metricsIn(expr).map((name) => baseName(name, exported));
      assert.ok(names.length > 0, where);
      for (const name of names) {
        assert.ok(exported.has(name) || OF_PROMETHEUS.has(name), `${where}: nobody exports ${name}`);
        shown.add(name);
      }
    }
    const hidden = [...exported.keys()].filter((name) => /^(warren|rpc|http)_/.test(name) && !shown.has(name));
    assert.deepEqual(hidden, []);
  });
});

test("every alert says how bad it is and has its page, which quotes it; no page is without its alert", () => {
  assert.ok(rules.length >= 15);
  for (const { alert, expr, labels, annotations } of rules) {
    assert.ok(["info", "warning", "critical"].includes(labels.severity), alert);
    assert.ok(annotations.summary && annotations.description, alert);
    const page = read(annotations.runbook);
    assert.ok(page.startsWith(`# ${alert}\n`), alert);
    assert.ok(page.includes(expr), `${alert}: its page quotes another expression`);
    for (const heading of ["## What it means", "## Where to look", "## What to do"])
      assert.ok(page.includes(heading), `${alert}: ${heading}`);
  }
  const pages = readdirSync(new URL("docs/runbooks", ROOT)).filter((name) => name !== "README.md");
  assert.deepEqual(pages.toSorted(), rules.map(({ annotations }) => annotations.runbook.split("/").at(-1)).toSorted());
  const index = read("docs/runbooks/README.md");
  for (const { alert } of rules) assert.ok(index.includes(`[${alert}]`), alert);
});

test("dashboards can be provisioned together: ids are unique, panels have titles", () => {
  assert.equal(new Set(dashboards.map(({ uid }) => uid)).size, dashboards.length);
  for (const { title, panels } of dashboards) {
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length, title);
    for (const panel of panels) assert.ok(panel.title && panel.targets.length > 0, title);
  }
});
