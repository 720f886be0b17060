import type { Command } from "commander";
import type { Context } from "../context.ts";
import { registerLimitsApply } from "./limits/apply.ts";
import { registerLimitsExplain } from "./limits/explain.ts";
import { registerLimitsShow } from "./limits/show.ts";
import { registerLimitsTest } from "./limits/trial.ts";

/** `warren limits`: the limits in force, what they say of a request, and others in their place. */
export function registerLimits(program: Command, context: Context): void {
  const limits = program.command("limits").description("see, try out and change the rate limits");
  registerLimitsShow(limits, context);
  registerLimitsExplain(limits, context);
  registerLimitsTest(limits, context);
  registerLimitsApply(limits, context);
}
