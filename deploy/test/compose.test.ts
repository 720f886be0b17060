import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { services as policy } from "@warren/mesh/policy";
import { parse } from "yaml";
import type { Json } from "./support/chart.ts";
import { ROOT, run } from "./support/tools.ts";

const MESH = join(ROOT, "docker-compose.yml");
const OBSERVED = join(ROOT, "compose.observability.yml");
const mesh = read(MESH);
const observed = read(OBSERVED);
const SERVICES = Object.keys(policy);
/** Runs once and ends, or is started by hand. */
const NOT_SERVED = ["bootstrap", "cli"];

function read(file: string): Json {
  return parse(readFileSync(file, "utf8"), { merge: true }) as Json;
}

function strings(list: Json | undefined): string[] {
  return [...(list ?? [])].map(String);
}

test("compose files are what docker compose takes", async (t) => {
  const { code } = await run("docker", ["compose", "version"]);
  if (code !== 0) return t.skip("there is no docker compose on this machine");
  for (const files of [
    ["-f", MESH],
    ["-f", MESH, "-f", OBSERVED],
  ]) {
    const checked = await run("docker", ["compose", ...files, "--profile", "tools", "config", "--quiet"]);
    assert.equal(checked.code, 0, checked.stderr);
  }
});

test("every container is contained: user 10001, read-only root, no capability, no new privilege, bounded", () => {
  for (const [name, service] of Object.entries(mesh["services"] as Json)) {
    assert.equal(service["read_only"], true, name);
    assert.deepEqual(strings(service["cap_drop"]), ["ALL"], name);
    assert.ok(strings(service["security_opt"]).includes("no-new-privileges:true"), name);
    if (name === "bootstrap") continue;
    assert.equal(service["user"], "10001:10001", name);
    assert.equal(service["cap_add"], undefined, name);
    if (name !== "cli") assert.ok(service["mem_limit"], name);
  }
  for (const [name, service] of Object.entries(observed["services"] as Json))
    if (!SERVICES.includes(name)) assert.equal(service["read_only"], true, name);
});

test("bootstrap, which sees every key, has no network and no more capabilities than giving files away needs", () => {
  const bootstrap = mesh["services"]?.["bootstrap"] as Json;
  assert.equal(bootstrap["network_mode"], "none");
  assert.deepEqual(strings(bootstrap["cap_add"]), ["CHOWN", "DAC_OVERRIDE", "FOWNER"]);
});

test("each part mounts its own secrets only, and cannot change them", () => {
  for (const [name, service] of Object.entries(mesh["services"] as Json)) {
    if (name === "bootstrap") continue;
    const keys = strings(service["volumes"]).filter((volume) => volume.includes("/run/warren"));
    // The command acts as the operator.
    assert.deepEqual(keys, [`${name === "cli" ? "auth" : name}-keys:/run/warren:ro`], name);
  }
});

test("no secret stands in an environment", () => {
  const text = JSON.stringify([mesh, observed]);
  assert.ok(!/PASSWORD(?!_FILE)"|SECRET"|TOKEN"|redis:\/\/[^"]*@/.test(text));
});

test("every service waits until what it needs is well", () => {
  for (const name of [...SERVICES, "nats", "redis"]) {
    const needs = Object.values((mesh["services"]?.[name]?.["depends_on"] ?? {}) as Json);
    assert.ok(needs.length > 0, name);
    for (const { condition } of needs as Json[])
      assert.match(String(condition), /^service_(healthy|completed_successfully)$/, name);
  }
});

test("NATS, Redis, auth and secrets cannot reach the internet, and only the gateway is published, on this machine", () => {
  assert.equal(mesh["networks"]?.["mesh"]?.["internal"], true);
  for (const [name, service] of Object.entries(mesh["services"] as Json)) {
    if (name === "bootstrap") continue;
    const outside = strings(service["networks"]).includes("outside");
    assert.equal(outside, ["gateway", "agent", "plugin-host"].includes(name), name);
    assert.equal(service["ports"] !== undefined, name === "gateway", name);
  }
  assert.match(strings(mesh["services"]?.["gateway"]?.["ports"])[0] ?? "", /^\$\{WARREN_HTTP_ADDRESS:-127\.0\.0\.1\}:/);
  for (const [name, service] of Object.entries(observed["services"] as Json))
    for (const port of strings(service["ports"])) assert.match(port, /^127\.0\.0\.1:/, name);
});

test("a stop waits longer than the drain of calls in flight", () => {
  for (const name of SERVICES) assert.equal(mesh["services"]?.[name]?.["stop_grace_period"], "40s");
});

test("plugin-host can be scaled: it has no name and no port of its own", () => {
  const host = mesh["services"]?.["plugin-host"] as Json;
  for (const key of ["container_name", "ports", "hostname"]) assert.equal(host[key], undefined);
  assert.ok(!strings(host["volumes"]).some((volume) => volume.includes("/var/lib/warren")), "stores are not shared");
});

test("only plugin hosts are let make namespaces and mounts", () => {
  for (const [name, service] of Object.entries(mesh["services"] as Json)) {
    const options = strings(service["security_opt"]);
    assert.equal(options.includes("seccomp=./deploy/seccomp/plugin-host.json"), name === "plugin-host", name);
    assert.equal(options.includes("systempaths=unconfined"), name === "plugin-host", name);
    assert.ok(!options.includes("seccomp=unconfined"), name);
  }
});

test("every service of the policy is in compose, and all long-running ones are watched by Prometheus", () => {
  const names = Object.keys(mesh["services"] as Json).filter((name) => !NOT_SERVED.includes(name));
  assert.deepEqual(names.toSorted(), [...SERVICES, "nats", "redis"].toSorted());
  const scraped = read(join(ROOT, "deploy/observability/prometheus/prometheus.yml"));
  const watched = strings(scraped["scrape_configs"]?.[0]?.["dns_sd_configs"]?.[0]?.["names"]);
  assert.deepEqual(watched.toSorted(), SERVICES.toSorted());
});

test("an alert names every service of the policy: one that has left discovery leaves no series behind", () => {
  const rules = read(join(ROOT, "deploy/observability/prometheus/rules/warren.yml"))["groups"]?.[0]?.["rules"];
  const absent = [...(rules ?? [])].find((rule) => String(rule["alert"]) === "WarrenServiceAbsent");
  const named = [...String(absent?.["expr"]).matchAll(/absent\(up\{job="warren", service="([^"]+)"\}\)/g)];
  assert.deepEqual(named.map(([, service = ""]) => service).toSorted(), SERVICES.toSorted());
});

test("what the observability layer mounts is there", () => {
  for (const service of Object.values(observed["services"] as Json) as Json[])
    for (const volume of strings(service["volumes"]).filter((each) => each.startsWith("./")))
      assert.ok(readable(join(ROOT, volume.split(":")[0] ?? "")), volume);
});

function readable(path: string): boolean {
  try {
    readFileSync(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EISDIR";
  }
}
