// The steps of pairing this device: begin, ask for the code, complete.
import { StartPairingResponse, TokenGrant } from "@warren/proto/warren/auth/v1/auth";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { createClient } from "../api/client.ts";
import { ProblemError } from "../api/problem.ts";
import { type PendingPairing, pendingFile, type Profile, writePending, writeProfile } from "../api/profile.ts";
import { withGrant } from "../api/renewal.ts";
import { connectWithoutToken, type Context, type GlobalOptions, profileFile } from "../context.ts";
import { CliError, ExitCode, usageError } from "../errors.ts";
import { askText } from "../output/ask.ts";
import type { Terminal } from "../output/terminal.ts";
import { newDeviceKey, normalCode, pairingSignature, publicKeyText } from "../pairing.ts";

/** What the operator may ask for beside the code. */
export interface SecondFactor {
  readonly totp?: string;
  readonly recoveryCode?: string;
}

/** A pairing that waits for its code, and the profile it becomes. */
export interface PairingInProgress {
  readonly file: string;
  readonly pending: PendingPairing;
}

/** Makes a key, asks the gateway for a pairing, and keeps both, so that another command can complete it. */
export async function startPairing(
  context: Context,
  options: GlobalOptions & { readonly name?: string; readonly scope?: readonly string[]; readonly role?: string },
): Promise<PairingInProgress> {
  const client = await connectWithoutToken(context, options);
  const privateKey = newDeviceKey();
  const deviceName = options.name ?? hostname();
  const role = options.role === undefined ? {} : { role: options.role };
  const body = { deviceName, publicKey: publicKeyText(privateKey), scopes: options.scope ?? [], ...role };
  const json = await client.json({ method: "POST", path: "/v1/pairing", body });
  const { id, challenge, expireTime } = StartPairingResponse.fromJSON(json);
  if (!id || !challenge)
    throw new CliError(ExitCode.failure, `${client.url} answered without a challenge`, "is it a Warren gateway?");
  const end = expireTime?.getTime() ?? Date.now() + 300_000;
  const begun = {
    file: profileFile(context, options),
    pending: { url: client.url, id, challenge, deviceName, privateKey, end },
  };
  await writePending(begun.file, begun.pending);
  return begun;
}

/** Asks for the code on the terminal, or reads a line of stdin; undefined when the input ends first. */
export async function askForCode(terminal: Terminal, end: number): Promise<string | undefined> {
  if (terminal.interactive)
    return askText(terminal, "Code", (typed) =>
      normalCode(typed) ? undefined : "8 letters and digits; 0, 1, I, L and O are not among them",
    );
  const lines = createInterface({ input: terminal.stdin, signal: AbortSignal.timeout(Math.max(0, end - Date.now())) });
  try {
    for await (const line of lines) if (line.trim()) return line;
    return undefined;
  } finally {
    lines.close();
  }
}

/**
 * Proves that the device knows the code, and writes its profile.
 * @throws CliError (usage) when it cannot be a code, ProblemError when the gateway refuses it.
 */
export async function completePairing(
  context: Context,
  { file, pending }: PairingInProgress,
  typed: string,
  factor: SecondFactor = {},
): Promise<Profile> {
  const code = normalCode(typed);
  // A slip of the finger must not cost one of the five attempts.
  if (!code) throw usageError("that is no code", "8 letters and digits; 0, 1, I, L and O are not among them");
  const signature = pairingSignature(pending.privateKey, pending, code);
  const json = await createClient(pending.url, undefined, context.fetch).json({
    method: "POST",
    path: `/v1/pairing/${encodeURIComponent(pending.id)}:complete`,
    body: { code, signature, ...factor },
    // The tokens are then good only with a proof of this key.
    proveKey: pending.privateKey,
  });
  const profile = withGrant(pending, TokenGrant.fromJSON(json), Date.now());
  await writeProfile(file, profile);
  await rm(pendingFile(file), { force: true });
  return profile;
}

/** Whether the gateway refused this code, or this moment, and may take another. */
export function mayTryAgain(error: unknown): error is ProblemError {
  return error instanceof ProblemError && [401, 429].includes(error.problem.status);
}
