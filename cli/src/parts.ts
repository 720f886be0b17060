// What the command gets from the rest of the project, loaded only by the commands that need it.

/** What {@link StartLocalStack} is told. */
export interface LocalStackOptions {
  readonly dataDir: string;
  readonly httpPort: number;
  readonly grpcPort: number;
  /** How many plugin hosts to start. */
  readonly pluginHosts: number;
  /** Takes each line of the services' logs. */
  readonly log: (line: string) => void;
}

/** A mesh that runs on this machine. */
export interface LocalStack {
  readonly url: string;
  readonly operatorTokenFile: string;
  /** Settles when it has ended, asked to or not. */
  readonly stopped: Promise<void>;
  stop(): Promise<void>;
}

/** Starts a mesh on this machine, and resolves when it answers. */
export type StartLocalStack = (options: LocalStackOptions) => Promise<LocalStack>;

/** A plugin folder made into a package. */
export interface PackedPlugin {
  readonly bytes: Uint8Array;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string;
  readonly manifest: {
    readonly id: string;
    readonly version: string;
    readonly permissions?: { readonly required?: readonly string[]; readonly optional?: readonly string[] };
  };
}

/** Makes a plugin folder into a package. @throws Error saying what in the folder is wrong. */
export type PackPlugin = (folder: string) => Promise<PackedPlugin>;
