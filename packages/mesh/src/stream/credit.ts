// Flow control by credit: a writer sends only what the reader has said it can take, in frames and in bytes.

/** A window: what a reader takes before it grants more. */
export interface Window {
  readonly frames: number;
  readonly bytes: number;
}

/** The window of this implementation. */
export const DEFAULT_WINDOW: Window = { frames: 1024, bytes: 1 << 20 };

/** Writes a window as a header: `256;1048576`. */
export function packWindow({ frames, bytes }: Window): string {
  return `${frames};${bytes}`;
}

/** Reads it; undefined when it is missing, malformed or empty. */
export function unpackWindow(text: string | undefined): Window | undefined {
  const match = text && /^(\d{1,6});(\d{1,9})$/.exec(text);
  if (!match) return undefined;
  const window = { frames: Number(match[1]), bytes: Number(match[2]) };
  return window.frames > 0 && window.bytes > 0 ? window : undefined;
}

/** The writer's side: what may still be sent. */
export class CreditBalance {
  #frames: number;
  #bytes: number;
  #waiting: (() => void) | undefined;

  constructor(window: Window) {
    this.#frames = window.frames;
    this.#bytes = window.bytes;
  }

  /** Whether one more frame may go. A frame may overdraw the bytes once, or one larger than the window would never go. */
  get open(): boolean {
    return this.#frames > 0 && this.#bytes > 0;
  }

  /** Counts a frame that was sent. */
  spend(bytes: number): void {
    this.#frames -= 1;
    this.#bytes -= bytes;
  }

  /** Adds what the reader granted. */
  grant({ frames, bytes }: Window): void {
    this.#frames += frames;
    this.#bytes += bytes;
    if (this.open) this.release();
  }

  /** Resolves when a frame may go, or when {@link release} is called. One waiter at a time. */
  whenOpen(): Promise<void> {
    if (this.open) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  /** Ends a wait, also without credit: the stream is over. */
  release(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}

/** The reader's side: what was consumed since the last grant, and what a writer may still send. */
export class CreditMeter {
  readonly #window: Window;
  readonly #outstanding: CreditBalance;
  #frames = 0;
  #bytes = 0;

  constructor(window: Window) {
    this.#window = window;
    this.#outstanding = new CreditBalance(window);
  }

  /** Counts a frame that came; false when the writer had no credit for it. */
  receive(bytes: number): boolean {
    const allowed = this.#outstanding.open;
    this.#outstanding.spend(bytes);
    return allowed;
  }

  /** Counts a frame that was consumed; returns what to grant once half a window is used, else undefined. */
  consume(bytes: number): Window | undefined {
    this.#frames += 1;
    this.#bytes += bytes;
    if (this.#frames * 2 < this.#window.frames && this.#bytes * 2 < this.#window.bytes) return undefined;
    const grant = { frames: this.#frames, bytes: this.#bytes };
    this.#frames = 0;
    this.#bytes = 0;
    this.#outstanding.grant(grant);
    return grant;
  }
}
