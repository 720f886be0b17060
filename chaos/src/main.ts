// `npm run chaos [-- --short] [--only <words>]`: hurts a mesh of its own under load, and reports.
import { parseArgs } from "node:util";
import { faults, formatOutcomes, runChaos, stood } from "./index.ts";

const RECOVERY_MS = 5000;

const { values } = parseArgs({ options: { short: { type: "boolean" }, only: { type: "string" } } });
const chosen = faults
  .filter(({ short }) => !values.short || short === true)
  .filter(({ name }) => name.includes(values.only ?? ""));
if (chosen.length === 0) {
  console.error(
    `Usage: npm run chaos [-- --short] [--only <words of a fault's name>]\n  ${faults.map(({ name }) => name).join("\n  ")}`,
  );
  process.exit(2);
}
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort(new Error(signal)));
try {
  const outcomes = await runChaos({ faults: chosen, progress: (line) => console.error(line), signal: stop.signal });
  console.log(formatOutcomes(outcomes));
  const fallen = outcomes.filter((outcome) => !stood(outcome, RECOVERY_MS));
  console.log(`\n${outcomes.length - fallen.length} passed, ${fallen.length} failed`);
  process.exitCode = fallen.length === 0 ? 0 : 1;
} catch (error) {
  console.error("The faults could not all be made:", error);
  process.exitCode = 1;
}
