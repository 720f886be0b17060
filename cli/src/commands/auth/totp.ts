import { EnrollTotpResponse, RecoveryCodes, Totp } from "@warren/proto/warren/auth/v1/access";
import type { Command } from "commander";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { usageError } from "../../errors.ts";
import { oneLine } from "../../output/sanitize.ts";
import { relativeTime } from "../../output/time.ts";
import { askDigits, digits, type Factor, type FactorOptions, factorOf, withFactor } from "./factor.ts";

/** `warren auth totp`: one-time passwords of an app on the operator's phone. */
export function registerTotp(auth: Command, context: Context): void {
  const totp = auth.command("totp").description("one-time passwords (RFC 6238): status, enroll, verify, disable");
  totp
    .command("status", { isDefault: true })
    .description("show whether they are set up, and when they are asked for")
    .action(async (_options: GlobalOptions, command: Command) => status(context, command.optsWithGlobals()));
  withFactor(totp.command("enroll"))
    .description("begin to set them up; where they are, the present one is needed")
    .action(async (_options: FactorOptions, command: Command) => enroll(context, command.optsWithGlobals()));
  totp
    .command("verify")
    .description("complete the set-up with the digits that the app shows; prints the recovery codes")
    .argument("[digits]", "six digits")
    .action(async (typed: string | undefined, _options: GlobalOptions, command: Command) =>
      verify(context, typed, command.optsWithGlobals()),
    );
  withFactor(totp.command("disable"))
    .description("end them")
    .action(async (_options: FactorOptions, command: Command) => disable(context, command.optsWithGlobals()));
}

async function status(context: Context, options: GlobalOptions): Promise<void> {
  const json = await (await connect(context, options)).json({ method: "GET", path: "/v1/totp" });
  const { enabled, pending, askedForPairing, recoveryCodesLeft, enableTime } = Totp.fromJSON(json);
  answer(context, options, json, () =>
    [
      enabled
        ? `One-time passwords were set up ${relativeTime(enableTime)}; ${recoveryCodesLeft} recovery codes are left.`
        : "One-time passwords are not set up.",
      ...(pending ? ['A set-up waits: complete it with "warren auth totp verify".'] : []),
      `Pairing asks for ${askedForPairing ? "one" : "none"}.`,
    ].join("\n"),
  );
}

async function enroll(context: Context, options: FactorOptions): Promise<void> {
  const client = await connect(context, options);
  const { enabled } = Totp.fromJSON(await client.json({ method: "GET", path: "/v1/totp" }));
  const body: Factor = enabled ? await factorOf(context, options) : {};
  const json = await client.json({ method: "POST", path: "/v1/totp:enroll", body });
  const { secret, uri } = EnrollTotpResponse.fromJSON(json);
  answer(context, options, json, () =>
    [
      `Type this secret into the app: ${oneLine(secret)}`,
      `or make a QR code of: ${oneLine(uri)}`,
      'Then run "warren auth totp verify" with the digits that it shows.',
    ].join("\n"),
  );
}

async function verify(context: Context, typed: string | undefined, options: GlobalOptions): Promise<void> {
  const client = await connect(context, options);
  if (typed === undefined && (!context.terminal.interactive || options.json))
    throw usageError("the six digits that the app shows are needed");
  const totp = typed === undefined ? await askDigits(context) : digits(typed);
  const json = await client.json({ method: "POST", path: "/v1/totp:verify", body: { totp } });
  showCodes(context, options, json);
}

async function disable(context: Context, options: FactorOptions): Promise<void> {
  const client = await connect(context, options);
  await client.json({ method: "POST", path: "/v1/totp:disable", body: await factorOf(context, options) });
  answer(context, options, { enabled: false }, () => "One-time passwords are not asked for any more.");
}

/** Prints recovery codes, one a line. */
export function showCodes(context: Context, options: GlobalOptions, json: Record<string, unknown>): void {
  if (options.json) return context.terminal.json(json);
  context.terminal.note("Keep these recovery codes where the phone is not. Each works once; they are shown this once:");
  for (const code of RecoveryCodes.fromJSON(json).codes) context.terminal.print(oneLine(code));
}
