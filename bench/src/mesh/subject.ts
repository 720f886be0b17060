// What the mesh suites measure: a way to call an echo in another process.

/** Where a subject finds the servers and what it may log in with. */
export interface Target {
  /** `nats://127.0.0.1:<port>`, without credentials. */
  readonly natsUrl: string;
  /** A user of an account of its own, who may publish and subscribe anywhere in it. */
  readonly peer: { readonly user: string; readonly password: string };
  /** The folder that holds Warren's credential files, one a service. */
  readonly credentials: string;
  /** Where the serving side listens, for subjects that connect directly. */
  readonly address: string | undefined;
}

/** The process that answers. */
export interface ServingSide {
  /** Where it listens, for subjects that connect directly. */
  readonly address?: string;
  close(): Promise<void>;
}

/** The process that calls. */
export interface CallingSide {
  /** Sends text; resolves with the text that came back. `caller` counts from 0: who calls. */
  echo(text: string, caller: number): Promise<string>;
  /** Reads a stream of `count` messages of 128 characters; resolves with how many came. */
  stream?(count: number): Promise<number>;
  close(): Promise<void>;
}

/** One framework, or one way to use it. */
export interface Subject {
  serve(target: Target): Promise<ServingSide>;
  connect(target: Target): Promise<CallingSide>;
}

/** The text of one message of a stream. */
export const STREAM_TEXT = "s".repeat(128);

/** A request with this prefix is answered after so many milliseconds: `hold:3000`. */
export const HOLD_PREFIX = "hold:";

/** Answers with the text that came, at once or when it asks to wait. */
export async function echo(text: string): Promise<string> {
  if (text.startsWith(HOLD_PREFIX))
    await new Promise((resolve) => setTimeout(resolve, Number.parseInt(text.slice(HOLD_PREFIX.length), 10)));
  return text;
}
