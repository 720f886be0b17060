// What the command gets from the rest of the project, loaded only by the commands that need it.

import type {
  Api,
  EnsureFolderOptions,
  EnsureSecretsOptions,
  MaterialKind,
  NatsConfigOptions,
} from "@warren/bootstrap";
import type { LocalStack, LocalStackOptions } from "@warren/local-stack";

/** Starts a mesh on this machine, and resolves when it answers. What ends by itself is started again. */
export type StartLocalStack = (options: LocalStackOptions) => Promise<RunningStack>;

/** A mesh that runs on this machine. */
export type RunningStack = Pick<LocalStack, "url" | "grpcAddress" | "operatorTokenFile" | "stop">;

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

/** What `warren mesh` does, from the bootstrap package. */
export interface MeshParts {
  readonly kinds: readonly MaterialKind[];
  ensureFolder(options: EnsureFolderOptions): string[];
  ensureSecrets(options: EnsureSecretsOptions): Promise<string[]>;
  inClusterApi(): Api;
  partNames(): string[];
  writeNatsConfig(options: NatsConfigOptions): void;
}

/** Loads them. */
export type LoadMeshParts = () => Promise<MeshParts>;
