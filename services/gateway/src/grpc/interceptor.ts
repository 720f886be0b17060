// What stands before every gRPC method: the edge's one admission, and what every response says.
import type { IncomingMessage } from "node:http";
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptor,
  status as Code,
  type StatusObject,
} from "@grpc/grpc-js";
import { RpcError, StatusCode } from "@warren/mesh";
import type { Admission, Visit } from "../edge/admission.ts";
import type { RoutePolicy } from "../edge/routes.ts";
import { type EnteredCall, GrpcCall } from "./call.ts";
import { reasonOf } from "./status.ts";

export interface InterceptorDependencies {
  readonly admission: Pick<Admission, "enter">;
  /** By the method's path on the wire. */
  readonly policies: ReadonlyMap<string, RoutePolicy>;
  readonly statusOf: (thrown: unknown, requestId: string) => StatusObject;
  readonly onEnd: (end: EndedCall) => void;
  /** Longest wait for a call's first message, in milliseconds: whoever sends none holds a place for nothing. */
  readonly firstMessageMs: number;
}

/** A call that has ended. */
export interface EndedCall {
  /** `warren.agent.v1.AgentService/Chat`. */
  readonly path: string;
  readonly code: number;
  readonly seconds: number;
  readonly request: IncomingMessage;
  readonly policy: RoutePolicy | undefined;
  /** A constant for programs, where it failed with one. */
  readonly reason: string | undefined;
}

/** Ends of calls for which a model may have been at work: its caller left, or the time was up, which a caller may choose. */
const MAY_HAVE_WORKED: ReadonlySet<number> = new Set([Code.OK, Code.CANCELLED, Code.DEADLINE_EXCEEDED]);

/** Lets calls in, and tells handlers who they are. */
export class Doorkeeper {
  readonly #entered = new WeakMap<Metadata, EnteredCall>();
  readonly #deps: InterceptorDependencies;

  constructor(deps: InterceptorDependencies) {
    this.#deps = deps;
  }

  /** The call whose handler got this metadata. */
  of(metadata: Metadata): EnteredCall {
    const entered = this.#entered.get(metadata);
    if (entered === undefined) throw new Error("A call reached its handler without admission");
    return entered;
  }

  /** Runs before the first byte of a message is read. */
  readonly interceptor: ServerInterceptor = (method, next) => {
    const { admission, policies, statusOf, onEnd, firstMessageMs } = this.#deps;
    let call: GrpcCall | undefined;
    let told = false;
    let ended = false;
    let ending: ((failed: boolean) => void) | undefined;
    let awaited: NodeJS.Timeout | undefined;
    const end = (code: number, reason?: string): void => {
      if (ended || !call) return;
      ended = true;
      clearTimeout(awaited);
      ending?.(!MAY_HAVE_WORKED.has(code));
      onEnd({ ...call.end(code), request: call.request, policy: policies.get(method.path), code, reason });
    };
    const enter = async (metadata: Metadata): Promise<void> => {
      const policy = policies.get(method.path);
      if (policy === undefined) throw new Error(`${method.path} is served and has no policy`);
      const opened = (call = new GrpcCall(method.path, metadata, next));
      const visit: Visit = {
        tell: (headers) => {
          for (const [name, value] of Object.entries(headers)) opened.told.set(name, value);
        },
        onEnd: (callback) => (ending = callback),
      };
      const admitted = await admission.enter(opened.request, policy, visit);
      const { request, within, id } = opened;
      this.#entered.set(metadata, { admitted, request, within, id });
    };
    const intercepted: ServerInterceptingCall = new ServerInterceptingCall(next, {
      start: (begin) =>
        begin({
          onReceiveMetadata: (metadata, pass) => {
            const refuse = (thrown: unknown): void => intercepted.sendStatus(statusOf(thrown, call?.id ?? ""));
            awaited = setTimeout(() => refuse(noMessage(firstMessageMs)), firstMessageMs);
            void enter(metadata).then(() => pass(metadata), refuse);
          },
          onReceiveMessage: (message, pass) => {
            clearTimeout(awaited);
            pass(message);
          },
          // A stream of requests may be empty.
          onReceiveHalfClose: (pass) => {
            clearTimeout(awaited);
            pass();
          },
          onCancel: () => end(Code.CANCELLED),
        }),
      // Sent before the first message. Without one there is no head: what it would say comes with the status.
      sendMetadata: (head, pass) => {
        told = true;
        if (call) head.merge(call.told);
        pass(head);
      },
      sendStatus: (result, pass) => {
        end(result.code ?? Code.UNKNOWN, reasonOf(result.metadata));
        const metadata = result.metadata?.clone() ?? undefined;
        if (!told && call && metadata) metadata.merge(call.told);
        pass({ ...result, metadata: metadata ?? (told ? null : (call?.told ?? null)) });
      },
    });
    return intercepted;
  };
}

function noMessage(ms: number): RpcError {
  const text = `The call's first message did not come within ${ms / 1000} s`;
  return new RpcError(StatusCode.DEADLINE_EXCEEDED, text, { reason: "NO_MESSAGE" });
}
