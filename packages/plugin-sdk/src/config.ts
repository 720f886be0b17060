/** What the host tells a plugin by its environment. Never a secret: those are leased over the host channel. */
export interface PluginEnvironment {
  /** Whether the host wants to speak on fd 4 at once, not only when the plugin first does. */
  readonly opensHostChannel: boolean;
}

/** Reads the environment, in one place. */
export function readEnvironment(environment: NodeJS.ProcessEnv = process.env): PluginEnvironment {
  return { opensHostChannel: environment["WARREN_HOST_CHANNEL"] === "1" };
}
