// `npm run bench -- <suite> [--quick] [--json] [--profile <folder>]`.
import { parseArgs } from "node:util";
import { gatewaySuite } from "./gateway/suite.ts";
import { limiterSuite } from "./limiter/suite.ts";
import { meshGrowthSuite } from "./mesh/growth-suite.ts";
import { meshSuite } from "./mesh/suite.ts";
import { formatReport } from "./report.ts";
import type { Suite } from "./suite.ts";
import { telemetrySuite } from "./telemetry/suite.ts";

const suites: Readonly<Record<string, Suite>> = {
  mesh: meshSuite,
  "mesh-growth": meshGrowthSuite,
  limiter: limiterSuite,
  gateway: gatewaySuite,
  telemetry: telemetrySuite,
};

const usage = `Usage: npm run bench -- <suite> [--quick] [--json] [--profile <folder>]
  suites      ${Object.keys(suites).join(", ")}
  --quick     ends within 60 seconds; good for a look, not for a figure
  --json      prints one JSON document in place of tables
  --profile   writes V8 CPU profiles of Warren's processes into the folder`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean" }, json: { type: "boolean" }, profile: { type: "string" } },
});
const [name = ""] = positionals;
const suite = suites[name];
if (!suite || positionals.length !== 1) {
  console.error(usage);
  process.exitCode = 2;
} else {
  // A signal ends the suite as its end would: with its servers and folders gone.
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort(new Error(signal)));
  try {
    const report = await suite({
      quick: values.quick ?? false,
      profileFolder: values.profile,
      progress: (line) => console.error(line),
      signal: stop.signal,
    });
    console.log(values.json ? JSON.stringify(report) : formatReport(report));
  } catch (error) {
    console.error(`The suite ${name} did not finish:`, error);
    process.exitCode = 1;
  }
}
