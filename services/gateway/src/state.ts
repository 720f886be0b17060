// What the gateway reads of the mesh's state, kept fresh by watches, and where it adds packages.
import { bytesCodec, jsonCodec, type Kv, type KvCache, type Mesh, type ObjectBucket, protoCodec } from "@warren/mesh";
import { PluginStatus } from "@warren/proto/warren/plugins/v1/plugins";
import type { Credential } from "./identity/credentials.ts";
import type { SigningKey } from "./identity/jwt.ts";
import type { ConsoleSession } from "./identity/sessions.ts";

/** A watched copy of a bucket. */
export type Watched<T> = Pick<KvCache<T>, "get" | "entries" | "onChange" | "close">;

/** What the gateway knows of the mesh. */
export interface GatewayState {
  /** Public signing keys by `kid`. */
  readonly keys: Watched<SigningKey>;
  /** Operator tokens and API keys by id. */
  readonly credentials: Watched<Credential>;
  /** Console sessions by id. */
  readonly sessions: Watched<ConsoleSession>;
  /** Revoked devices by id, revoked families of tokens under `family.<name>`. */
  readonly revocations: Watched<object>;
  /** What each plugin host says of each of its plugins. */
  readonly plugins: Watched<PluginStatus>;
  readonly packages: Pick<ObjectBucket, "put" | "has">;
  /** The gateways' own configuration, by name. */
  readonly config: Watched<Uint8Array>;
  readonly configBucket: Pick<Kv<Uint8Array>, "put" | "delete">;
}

/** Opens the state. Resolves when every copy is complete: from then on no token is judged by half of it. */
export async function openState(mesh: Mesh): Promise<GatewayState> {
  type Bucket = "auth_keys" | "auth_credentials" | "auth_revocations" | "auth_sessions";
  const watch = async <T>(name: Bucket): Promise<KvCache<T>> => (await mesh.kvView(name, jsonCodec<T>())).cached();
  const [keys, credentials, revocations, sessions, plugins, packages, configBucket] = await Promise.all([
    watch<SigningKey>("auth_keys"),
    watch<Credential>("auth_credentials"),
    watch<object>("auth_revocations"),
    watch<ConsoleSession>("auth_sessions"),
    mesh.kvView("plugin_status", protoCodec(PluginStatus)).then((bucket) => bucket.cached()),
    mesh.objects("plugin_packages"),
    mesh.kv("gateway_config", bytesCodec),
  ]);
  const config = await configBucket.cached();
  return { keys, credentials, revocations, sessions, plugins, packages, configBucket, config };
}
