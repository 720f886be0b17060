/** The sandbox plugins run in at level `process`: bubblewrap, seccomp and cgroups. */
export type {
  EnforcementReport,
  LimitEnforcement,
  LimitName,
  Sandbox,
  SandboxBind,
  SandboxedProcess,
  SandboxExit,
  SandboxLimits,
  SandboxSpec,
  SandboxUsage,
} from "./types.ts";
export { SandboxError } from "./errors.ts";
export type { SandboxErrorCode } from "./errors.ts";
export { createBubblewrapSandbox } from "./bubblewrap-sandbox.ts";
export type { BubblewrapOptions, BubblewrapSandbox } from "./bubblewrap-sandbox.ts";
export { probeSandbox } from "./probe.ts";
