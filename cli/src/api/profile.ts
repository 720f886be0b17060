// A paired device: its key and its tokens, kept in one private file.
import type { JsonWebKey } from "node:crypto";
import { CliError, ExitCode } from "../errors.ts";
import { readPrivateFile, writePrivateFile } from "./private-file.ts";
import { isRecord } from "./problem.ts";

/** What a device keeps of its pairing. */
export interface Profile {
  /** The gateway it is paired with: its tokens go nowhere else. */
  readonly url: string;
  readonly deviceId: string;
  readonly deviceName: string;
  readonly scopes: readonly string[];
  /** The Ed25519 key the tokens are bound to (RFC 8037). */
  readonly privateKey: JsonWebKey;
  readonly accessToken: string;
  /** When the access token ends, milliseconds since 1970. */
  readonly accessTokenEnd: number;
  readonly refreshToken: string;
  /** `DPoP`: the tokens are good only with a proof of the key (RFC 9449). Absent: paired before there were proofs. */
  readonly tokenType?: string;
}

/** A pairing that waits for the operator's code. */
export interface PendingPairing {
  readonly url: string;
  readonly id: string;
  readonly challenge: string;
  readonly deviceName: string;
  readonly privateKey: JsonWebKey;
  /** When it ends, milliseconds since 1970. */
  readonly end: number;
}

/** Reads a profile; undefined when there is none. @throws CliError when the file is not one, or not private. */
export async function readProfile(file: string): Promise<Profile | undefined> {
  return read(file, "profile", isProfile);
}

/** Writes a profile, replacing the one there was. */
export async function writeProfile(file: string, profile: Profile): Promise<void> {
  await writePrivateFile(file, `${JSON.stringify(profile, undefined, 2)}\n`);
}

/** Where the pairing that would become the profile `file` waits. */
export function pendingFile(file: string): string {
  return `${file}.pairing`;
}

/** Reads the pairing that waits beside a profile; undefined when there is none. */
export async function readPending(file: string): Promise<PendingPairing | undefined> {
  return read(pendingFile(file), "pairing", isPending);
}

/** Keeps a pairing that waits, so that another command can complete it. */
export async function writePending(file: string, pending: PendingPairing): Promise<void> {
  await writePrivateFile(pendingFile(file), `${JSON.stringify(pending, undefined, 2)}\n`);
}

async function read<T>(file: string, what: string, is: (value: unknown) => value is T): Promise<T | undefined> {
  const text = await readPrivateFile(file);
  if (text === undefined) return undefined;
  const value = parse(text);
  if (is(value)) return value;
  throw new CliError(ExitCode.failure, `${file} holds no ${what}`, `remove it and pair again: warren pair`);
}

function isProfile(value: unknown): value is Profile {
  return (
    isRecord(value) &&
    ["url", "deviceId", "deviceName", "accessToken", "refreshToken"].every((key) => typeof value[key] === "string") &&
    typeof value["accessTokenEnd"] === "number" &&
    Array.isArray(value["scopes"]) &&
    isRecord(value["privateKey"])
  );
}

function isPending(value: unknown): value is PendingPairing {
  return (
    isRecord(value) &&
    ["url", "id", "challenge", "deviceName"].every((key) => typeof value[key] === "string") &&
    typeof value["end"] === "number" &&
    isRecord(value["privateKey"])
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
