// `npm run loadtest -- <scenario|all> [--profile smoke]`: starts what it needs, runs, judges, stops all.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { profiles } from "./profiles.ts";
import { formatSummary, summarize } from "./report.ts";
import { type Outcome, run } from "./run.ts";
import type { Scenario } from "./scenario.ts";
import { scenarios } from "./scenarios/index.ts";
import { type Stack, startStack } from "./stack.ts";
import { openTarget } from "./target.ts";

const usage = `Usage: npm run loadtest -- <scenario|all> [--profile <name>] [--summary <file>] [--url <address> --token-file <file>]
  scenarios   ${scenarios.map(({ name, description }) => `${name.padEnd(11)} ${description}`).join("\n              ")}
  --profile   ${Object.keys(profiles).join(", ")} (default: smoke)
  --summary   where the JSON document goes (default: loadtest/results/<profile>.json)
  --url       a mesh that runs already, with limits that fit; default: one is started and stopped
  --token-file  file with a token that may do what the scenarios do`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    profile: { type: "string", default: "smoke" },
    summary: { type: "string" },
    url: { type: "string" },
    "token-file": { type: "string" },
  },
});
const [wanted = ""] = positionals;
const chosen = wanted === "all" ? scenarios : scenarios.filter(({ name }) => name === wanted);
const profile = profiles[values.profile];
if (
  !profile ||
  chosen.length === 0 ||
  positionals.length !== 1 ||
  (values.url !== undefined && !values["token-file"])
) {
  console.error(usage);
  process.exit(2);
}

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort(new Error(signal)));
const begun = performance.now();
const outcomes: Outcome[] = [];
try {
  for (const limits of ["policy", "open"] as const) {
    const own = chosen.filter((each) => each.limits === limits);
    if (own.length > 0) outcomes.push(...(await runAll(own, limits)));
  }
  const summary = summarize(profile.name, outcomes, (performance.now() - begun) / 1000);
  const file = values.summary ?? `loadtest/results/${profile.name}.json`;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(summary, undefined, 2)}\n`);
  console.log(formatSummary(summary));
  process.exitCode = summary.passed ? 0 : 1;
} catch (error) {
  console.error("The load test did not finish:", error);
  process.exitCode = 1;
}

async function runAll(own: readonly Scenario[], limits: "open" | "policy"): Promise<Outcome[]> {
  if (values.url !== undefined)
    return runEach(own, undefined, values.url, readFileSync(values["token-file"] ?? "", "utf8").trim());
  console.error(`starting a mesh (${limits === "open" ? "limits out of the way" : "its default limits"})`);
  const stack = await startStack(limits);
  try {
    return await runEach(own, stack, stack.url, stack.token);
  } finally {
    await stack.stop();
  }
}

async function runEach(
  own: readonly Scenario[],
  stack: Stack | undefined,
  url: string,
  token: string,
): Promise<Outcome[]> {
  const found: Outcome[] = [];
  for (const scenario of own) {
    stop.signal.throwIfAborted();
    console.error(`${scenario.name}: ${scenario.description}`);
    const target = openTarget(url, token);
    try {
      found.push(
        await run(scenario, { target, stack, profile: profile as typeof profile & object, signal: stop.signal }),
      );
    } finally {
      await target.close();
    }
  }
  return found;
}
