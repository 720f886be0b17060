// The standard health protocol (https://github.com/grpc/grpc/blob/master/doc/health-checking.md): whether the gateway
// can serve, for itself ("") and for each service that it offers.
import type { handleServerStreamingCall, handleUnaryCall } from "@grpc/grpc-js";
import { RpcError, StatusCode } from "@warren/mesh";
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Status,
  HealthListResponse,
} from "@warren/proto/grpc/health/v1/health";
import { bytesMethod, type ServedMethod } from "./contract.ts";
import { statusOf } from "./status.ts";

export interface HealthOptions {
  /** Names of the services that are offered. */
  readonly services: ReadonlySet<string>;
  readonly ready: () => Promise<boolean>;
  /** Time between two looks, while anybody watches, in milliseconds. */
  readonly lookEveryMs: number;
  /** Fires when the gateway begins to stop: watchers are told, and let go. */
  readonly draining: AbortSignal;
}

/** Watchers at once: each costs a stream for as long as it likes. */
const MOST_WATCHERS = 100;

const encode = (status: Status): Buffer => Buffer.from(HealthCheckResponse.encode({ status }).finish());

/** `Check`, `List` and `Watch`. */
export function healthMethods(options: HealthOptions): ServedMethod[] {
  const { services, ready, lookEveryMs, draining } = options;
  const status = async (): Promise<Status> =>
    !draining.aborted && (await ready().catch(() => false)) ? Status.SERVING : Status.NOT_SERVING;
  const known = (service: string): boolean => service === "" || services.has(service);
  let watchers = 0;

  const check = unary(async (request) => {
    const service = nameIn(request);
    if (service === undefined || !known(service))
      throw new RpcError(StatusCode.NOT_FOUND, "There is no such service", { reason: "SERVICE_UNKNOWN" });
    return encode(await status());
  });

  const list = unary(async () => {
    const now = await status();
    const statuses = Object.fromEntries(["", ...services].map((name) => [name, { status: now }]));
    return Buffer.from(HealthListResponse.encode({ statuses }).finish());
  });

  const watch: handleServerStreamingCall<Buffer, Buffer> = (call) => {
    call.on("error", () => undefined);
    const service = nameIn(call.request);
    if (service === undefined || watchers >= MOST_WATCHERS) {
      const code = service === undefined ? StatusCode.INVALID_ARGUMENT : StatusCode.RESOURCE_EXHAUSTED;
      call.emit("error", { code, details: service === undefined ? "no HealthCheckRequest" : "too many watchers" });
      return;
    }
    watchers += 1;
    let last: Status | undefined;
    const look = async (): Promise<void> => {
      const now = known(service) ? await status() : Status.SERVICE_UNKNOWN;
      // A watcher that does not read is owed the newest state alone.
      if (now === last || call.writableNeedDrain || call.cancelled) return;
      last = now;
      call.write(encode(now));
    };
    const timer = setInterval(() => void look(), lookEveryMs);
    const leave = (): void => void look().then(() => call.end());
    draining.addEventListener("abort", leave);
    call.once("cancelled", () => {
      watchers -= 1;
      clearInterval(timer);
      draining.removeEventListener("abort", leave);
    });
    if (draining.aborted) leave();
    else void look();
  };

  const service = "/grpc.health.v1.Health";
  return [
    { definition: bytesMethod(`${service}/Check`), handler: check },
    { definition: bytesMethod(`${service}/List`), handler: list },
    { definition: bytesMethod(`${service}/Watch`, { responseStream: true }), handler: watch },
  ];
}

function unary(answer: (request: Buffer) => Promise<Buffer>): handleUnaryCall<Buffer, Buffer> {
  return ({ request }, callback) => {
    void (async () => {
      try {
        callback(null, await answer(request));
      } catch (thrown) {
        callback(statusOf(thrown as RpcError));
      }
    })();
  };
}

function nameIn(request: Uint8Array): string | undefined {
  try {
    return HealthCheckRequest.decode(request).service;
  } catch {
    return undefined;
  }
}
