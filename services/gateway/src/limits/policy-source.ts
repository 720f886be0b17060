// Where the policy comes from, and how it changes while the gateway runs: the mesh's bucket goes before the file, the file
// before the defaults. What cannot be meant changes nothing, and is told.
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { z } from "zod";
import { defaultPolicy, type Limit, parsePolicy, type Policy } from "./policy.ts";

/** Where a policy was read. */
export type PolicyOrigin = "default" | "file" | "mesh";

/** An edit that was not taken. */
export interface RefusedEdit {
  readonly origin: PolicyOrigin;
  readonly why: string;
  readonly time: Date;
}

/** What of a log is used. */
export interface PolicyLog {
  info(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** The mesh's bucket: one entry of it is the policy, as JSON. */
export interface PolicyBucket {
  get(key: string): Uint8Array | undefined;
  onChange(listener: () => void): () => void;
}

export interface PolicySourceOptions {
  /** What holds where nothing else says so. Default: the default policy. */
  readonly base?: Policy | undefined;
  /** A JSON file. */
  readonly file?: string | undefined;
  readonly bucket?: PolicyBucket | undefined;
  readonly log: PolicyLog;
  /** Told of every attempt to change the policy. */
  readonly onReload?: (outcome: "changed" | "refused") => void;
  /** How often the file is looked at, in milliseconds. */
  readonly pollMs?: number | undefined;
}

/** The entry of the bucket that holds the policy. */
export const POLICY_KEY = "limits";
const POLL_MS = 500;

/** The policy in force. */
export class PolicySource {
  readonly #options: PolicySourceOptions;
  readonly #listeners = new Set<() => void>();
  readonly #ends: (() => void)[] = [];
  #file: Policy | undefined;
  #mesh: Policy | undefined;
  readonly #base: Policy;
  #current: Policy;
  #origin: PolicyOrigin = "default";
  #since = new Date();
  #refused: RefusedEdit | undefined;

  /** @throws Error naming the file and what is wrong in it: a gateway does not start with limits that nobody meant. */
  constructor(options: PolicySourceOptions) {
    this.#options = options;
    const { file, bucket, base = parsePolicy(defaultPolicy) } = options;
    this.#base = base;
    this.#current = base;
    if (file !== undefined) {
      this.#file = readPolicyFile(file);
      const changed = (): void => this.#take("file", () => (this.#file = readPolicyFile(file)));
      // By polling: a file that is replaced, or a link that is (as Kubernetes does it), is seen all the same.
      watchFile(file, { interval: options.pollMs ?? POLL_MS, persistent: false }, changed);
      this.#ends.push(() => unwatchFile(file, changed));
    }
    this.#choose();
    if (bucket) {
      const changed = (): void => this.#take("mesh", () => (this.#mesh = readEntry(bucket.get(POLICY_KEY))));
      changed();
      this.#ends.push(bucket.onChange(changed));
    }
  }

  get current(): Policy {
    return this.#current;
  }

  get origin(): PolicyOrigin {
    return this.#origin;
  }

  /** Since when it is in force. */
  get since(): Date {
    return this.#since;
  }

  /** The last edit, if it was not taken. */
  get refused(): RefusedEdit | undefined {
    return this.#refused;
  }

  /** Calls back when another policy is in force. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    for (const end of this.#ends) end();
  }

  #take(origin: PolicyOrigin, read: () => void): void {
    const { log, onReload } = this.#options;
    try {
      read();
    } catch (error) {
      const why = reasonOf(error);
      this.#refused = { origin, why, time: new Date() };
      onReload?.("refused");
      log.error(
        { origin, why, kept: this.#current.version },
        "An edit of the limits cannot be meant: the limits before it stay in force",
      );
      return;
    }
    if (this.#refused?.origin === origin) this.#refused = undefined;
    this.#choose();
  }

  #choose(): void {
    const before = this.#current;
    const [next, origin]: [Policy, PolicyOrigin] = this.#mesh
      ? [this.#mesh, "mesh"]
      : this.#file
        ? [this.#file, "file"]
        : [this.#base, "default"];
    const moved = origin !== this.#origin;
    this.#origin = origin;
    if (next.version === before.version && !moved) return;
    this.#current = next;
    this.#since = new Date();
    const changes = differences(before, next);
    this.#options.onReload?.("changed");
    this.#options.log.info({ origin, version: next.version, ...changes }, "The limits are now those of this version");
    for (const listener of this.#listeners) listener();
  }
}

/**
 * The policy of a file.
 * @throws Error naming the file and what is wrong in it.
 */
export function readPolicyFile(file: string): Policy {
  try {
    return parsePolicy(JSON.parse(readFileSync(file, "utf8")));
  } catch (cause) {
    throw new Error(`WARREN_LIMITS_FILE: ${file} holds no valid limits: ${reasonOf(cause)}`, { cause });
  }
}

function readEntry(bytes: Uint8Array | undefined): Policy | undefined {
  return bytes === undefined ? undefined : parsePolicy(JSON.parse(Buffer.from(bytes).toString()));
}

/** What of a policy is wrong, for a person. */
export function reasonOf(error: unknown): string {
  return error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
}

/** Names of limits, by what became of them. */
function differences(before: Policy, after: Policy): { added: string[]; removed: string[]; changed: string[] } {
  const namesOf = ({ limits }: Policy): Map<string, string> =>
    new Map(limits.map((limit) => [limit.name, text(limit)]));
  const [old, now] = [namesOf(before), namesOf(after)];
  return {
    added: [...now.keys()].filter((name) => !old.has(name)),
    removed: [...old.keys()].filter((name) => !now.has(name)),
    changed: [...now].flatMap(([name, is]) => (old.has(name) && old.get(name) !== is ? [name] : [])),
  };
}

function text(limit: Limit): string {
  return JSON.stringify({ ...limit, classes: limit.classes && [...limit.classes] });
}
