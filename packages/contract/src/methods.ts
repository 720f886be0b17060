// Methods with what their options say: what the mesh and the edge need to serve, call and route them.
import { type DescMessage, type DescMethod, getOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { HttpRule } from "@warren/proto/google/api/http";
import type { RpcOptions } from "@warren/proto/warren/options/v1/options";
import { extension, registry } from "./registry.ts";
import { hashOf, type MethodShape, shapeOf } from "./shape.ts";

/** Time allowed for a call when neither the caller nor the contract names one, in milliseconds. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** An HTTP route of a method (google.api.http). */
export interface HttpRoute {
  readonly verb: "GET" | "POST" | "PUT" | "DELETE" | "PATCH";
  /** As in the contract: `/v1/plugins/{plugin_id}/tools/{tool}:call`. */
  readonly path: string;
  /** `*`: the body holds every field that the path does not; empty: there is no body. */
  readonly body: string;
}

/** A method of a service and all that its contract says of it. */
export interface MethodContract {
  /** `warren.agent.v1.AgentService/Chat`. */
  readonly path: string;
  /** `warren.agent.v1.AgentService`. */
  readonly service: string;
  /** `Chat`. */
  readonly name: string;
  readonly input: DescMessage;
  readonly output: DescMessage;
  /** Many responses. */
  readonly streaming: boolean;
  /** Many requests. */
  readonly requestStreaming: boolean;
  /** What a caller must hold; `public`: nothing; `internal`: only services may call. */
  readonly scope: string;
  readonly limitClass: string;
  readonly timeoutMs: number;
  /** The request field, as a property name, whose value selects the replicas; undefined: any replica. */
  readonly keyField: string | undefined;
  readonly everyReplica: boolean;
  /** A second try after an unknown outcome does no harm. */
  readonly idempotent: boolean;
  /** Undefined: not reachable from outside. */
  readonly http: HttpRoute | undefined;
  /** What caller and service must agree on, and its hash: two that have the same hash understand each other. */
  readonly shape: MethodShape;
  readonly hash: string;
}

const rpcOption = extension("warren.options.v1.rpc");
const httpOption = extension("google.api.http");
const verbs = { get: "GET", post: "POST", put: "PUT", delete: "DELETE", patch: "PATCH" } as const;

function httpRoute(method: DescMethod): HttpRoute | undefined {
  const rule = getOption(method, httpOption) as unknown as
    | (Pick<HttpRule, "body"> & { pattern: { case: keyof typeof verbs | "custom" | undefined; value: string } })
    | undefined;
  const verb = rule?.pattern.case;
  if (rule === undefined || verb === undefined || verb === "custom") return undefined;
  return { verb: verbs[verb], path: rule.pattern.value, body: rule.body };
}

/**
 * What the contract says of a method.
 * @throws Error when it says too little, or what the mesh does not do.
 */
export function describeMethod(method: DescMethod): MethodContract {
  const path = `${method.parent.typeName}/${method.name}`;
  const options = getOption(method, rpcOption) as unknown as RpcOptions | undefined;
  if (!options?.scope) throw new Error(`${path} has no scope: set (warren.options.v1.rpc).scope in its contract`);
  const key = options.keyField && method.input.fields.find((field) => field.name === options.keyField);
  if (options.keyField && !key) throw new Error(`${path}: key_field ${options.keyField} is not a field of its request`);
  const requestStreaming = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  const http = httpRoute(method);
  // A route, a key and the word of every replica are told by one request, before the first message of a stream.
  if (requestStreaming && (http || key || options.everyReplica))
    throw new Error(`${path} streams its requests: it can have no HTTP route, no key_field and no every_replica`);
  const shape = shapeOf(method);
  return {
    path,
    service: method.parent.typeName,
    name: method.name,
    input: method.input,
    output: method.output,
    streaming: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestStreaming,
    scope: options.scope,
    limitClass: options.limitClass,
    timeoutMs: options.timeoutMs || DEFAULT_TIMEOUT_MS,
    keyField: key ? key.localName : undefined,
    everyReplica: options.everyReplica,
    idempotent: method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN,
    http,
    shape,
    hash: hashOf(shape),
  };
}

/** Every method of every Warren service, by its path. A method without a scope is an error here, at start-up. */
export const methods: ReadonlyMap<string, MethodContract> = new Map(
  [...registry]
    .filter((descriptor) => descriptor.kind === "service")
    // The standard services of gRPC have no options of ours: the edge serves them by itself.
    .filter((service) => service.typeName.startsWith("warren."))
    .flatMap((service) => service.methods.map(describeMethod))
    .map((method) => [method.path, method]),
);

/**
 * The contract of one method.
 * @throws Error when no contract has it.
 */
export function methodContract(service: string, name: string): MethodContract {
  const found = methods.get(`${service}/${name}`);
  if (found === undefined) throw new Error(`No contract has the method ${service}/${name}: run "npm run proto"`);
  return found;
}
