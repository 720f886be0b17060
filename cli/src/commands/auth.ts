import type { Command } from "commander";
import type { Context } from "../context.ts";
import { registerAudit } from "./auth/audit.ts";
import { registerKeys } from "./auth/keys.ts";
import { registerRecovery } from "./auth/recovery.ts";
import { registerSessions } from "./auth/sessions.ts";
import { registerSigningKeys } from "./auth/signing-keys.ts";
import { registerStatus } from "./auth/status.ts";
import { registerTotp } from "./auth/totp.ts";
import { registerDevices } from "./devices.ts";

/** `warren auth …`: who may come in, by what, and what was decided. */
export function registerAuth(program: Command, context: Context): void {
  const auth = program.command("auth").description("keys, devices, sessions, one-time passwords, the audit");
  registerStatus(auth, context);
  registerKeys(auth, context);
  registerDevices(auth, context);
  registerSessions(auth, context);
  registerTotp(auth, context);
  registerRecovery(auth, context);
  registerSigningKeys(auth, context);
  registerAudit(auth, context);
}
