// A sandbox that may not be available yet: plugins are refused until it is, never run in something weaker.
import type { Sandbox } from "../sandbox/types.ts";

/** A sandbox, and a way to ask for it without starting anything. */
export interface LazySandbox extends Sandbox {
  /** Throws what keeps the sandbox from being available. */
  check(): Promise<void>;
}

/** Makes the sandbox when it is first needed, and tries again each time for as long as it cannot be made. */
export function lazySandbox(create: () => Promise<Sandbox>): LazySandbox {
  let made: Promise<Sandbox> | undefined;
  const get = (): Promise<Sandbox> => {
    made ??= create().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
  return {
    level: "process",
    start: async (spec) => (await get()).start(spec),
    check: async () => {
      await get();
    },
  };
}
