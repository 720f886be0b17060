// The contract's streaming methods over WebSocket. A method without a body is one stream: its request is the URL. One with
// a body is a conversation: each text is a request, answered by its stream, one after the other.
import type { JsonValue } from "@bufbuild/protobuf";
import { bytesToJson, type MethodContract } from "@warren/contract";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Admitted, Visit } from "../admission.ts";
import type { EdgeCallOptions } from "../backend.ts";
import { parseJsonBody } from "../json-body.ts";
import { unavailable } from "../problem.ts";
import type { RestDependencies } from "../rest.ts";
import type { ContractRoute } from "../routes.ts";
import { type HttpParts, type MeshRequest, readRequest } from "../transcode.ts";
import { countTokens } from "../usage.ts";
import { Close, Connection } from "./connection.ts";
import { type Upgrades, upgradeRequired } from "./upgrades.ts";

export interface WebSocketDependencies extends RestDependencies {
  readonly upgrades: Upgrades;
  /** Longest time for one message to be taken by the other side, in milliseconds. */
  readonly sendTimeoutMs: number;
}

/** Time for what is cut to say so, in milliseconds. */
const LAST_WORDS_MS = 500;
/** Requests that may wait behind the one that is answered. */
const MOST_WAITING = 8;

/** A WebSocket with what was asked for on it. */
interface Talk {
  readonly route: ContractRoute;
  readonly method: MethodContract;
  readonly connection: Connection;
  readonly admitted: Admitted;
  readonly request: FastifyRequest;
  readonly deps: WebSocketDependencies;
}

/** WebSockets of the contract's streaming routes. */
export class WebSocketStreams {
  readonly #deps: WebSocketDependencies;
  readonly #open = new Set<{ readonly connection: Connection; busy: boolean }>();
  #stopping = false;

  constructor(deps: WebSocketDependencies) {
    this.#deps = deps;
    deps.stopping.addEventListener("abort", () => {
      // What is cut says so by itself; who does not take that is not waited for.
      setTimeout(() => {
        for (const { connection } of this.#open) connection.cut();
      }, LAST_WORDS_MS);
    });
  }

  /** Adds the routes that only a WebSocket has: streaming methods whose request comes as a message. */
  serve(app: FastifyInstance, routes: readonly ContractRoute[]): void {
    for (const route of routes) {
      const { streaming: method, hasBody, path, verb } = route;
      if (method === undefined || !hasBody || verb === "GET") continue;
      // Opening a conversation is not yet a turn of it: each message is counted as one.
      const policy = { template: route.template, scope: route.scope, limitClass: "" };
      app.get(path, { config: { policy } }, async (request, reply) => {
        if (!this.#deps.upgrades.has(request.raw))
          throw upgradeRequired("This route is a WebSocket for GET: open one, or send the request by POST");
        await this.#accept(route, method, request, reply, (talk) => this.#converse(talk));
      });
    }
  }

  /** Answers a request of a route without a body, if it asks for a WebSocket; else undefined. */
  take(
    route: ContractRoute,
    request: FastifyRequest,
    reply: FastifyReply,
    call: () => MeshRequest,
  ): Promise<FastifyReply> | undefined {
    const { streaming: method } = route;
    if (method === undefined || !this.#deps.upgrades.has(request.raw)) return undefined;
    // Before the handshake: a request that is wrong is refused with a status.
    const asked = call();
    return this.#accept(route, method, request, reply, async (talk) => {
      talk.connection.onText(() => talk.connection.close(Close.policyViolation, "this stream takes no messages"));
      const failure = await stream(talk, asked);
      await end(talk.connection, failure);
    });
  }

  /** Says good-bye to who has nothing in flight; the others are when they have, or when the time is up. */
  stop(): void {
    this.#stopping = true;
    for (const { connection, busy } of this.#open)
      if (!busy) connection.close(Close.goingAway, "the gateway is stopping");
  }

  async #accept(
    route: ContractRoute,
    method: MethodContract,
    request: FastifyRequest,
    reply: FastifyReply,
    talk: (talk: Talk) => Promise<void>,
  ): Promise<FastifyReply> {
    const { upgrades, admission, heartbeatMs, sendTimeoutMs } = this.#deps;
    const admitted = admission.of(request);
    const socket = await upgrades.accept(request.raw, reply.raw);
    void reply.hijack();
    const connection = new Connection(socket, { heartbeatMs, sendTimeoutMs });
    const open = { connection, busy: !route.hasBody };
    this.#open.add(open);
    connection.gone.addEventListener("abort", () => this.#open.delete(open));
    await talk({ route, method, connection, admitted, request, deps: this.#deps });
    return reply;
  }

  /** Answers each text in turn. Resolves at once: what comes is driven by the other side. */
  async #converse(talk: Talk): Promise<void> {
    const { connection } = talk;
    const waiting: Buffer[] = [];
    const open = [...this.#open].find((each) => each.connection === connection);
    if (open === undefined) return;
    const drain = async (): Promise<void> => {
      for (let text = waiting.shift(); text !== undefined && !connection.gone.aborted; text = waiting.shift()) {
        const failure = await this.#turn(talk, text);
        if (failure) await connection.send({ error: failure });
      }
      open.busy = false;
      if (this.#stopping) connection.close(Close.goingAway, "the gateway is stopping");
    };
    connection.onText((text) => {
      if (waiting.length >= MOST_WAITING)
        return connection.close(Close.policyViolation, "too many messages wait for an answer");
      waiting.push(text);
      if (open.busy) return;
      open.busy = true;
      void drain();
    });
  }

  /** One request of a conversation. Resolves with the problem that ended it, if one did. */
  async #turn(talk: Talk, text: Buffer): Promise<Record<string, unknown> | undefined> {
    const { route, method, request, admitted, deps } = talk;
    let end: ((failed: boolean) => void) | undefined;
    // What is left of the limits is told with a refusal alone: a message has no headers.
    const visit: Visit = { tell: () => undefined, onEnd: (callback) => (end = callback) };
    let failed = true;
    try {
      if (this.#stopping) throw unavailable("The gateway is stopping", 1, "STOPPING");
      await deps.admission.again(request.raw, admitted, route, visit);
      const parts: HttpParts = {
        params: request.params as Record<string, string>,
        query: "",
        body: parseJsonBody(text) as JsonValue,
      };
      const failure = await stream(talk, readRequest(route, method, parts));
      failed = failure !== undefined;
      return failure;
    } catch (thrown) {
      return problem(talk, thrown);
    } finally {
      // Who leaves may have had a model at work.
      end?.(failed && !talk.connection.gone.aborted);
    }
  }
}

/** Sends a method's messages. Resolves with the problem that ended them, if one did. */
async function stream(talk: Talk, { bytes, key }: MeshRequest): Promise<Record<string, unknown> | undefined> {
  const { connection, method, admitted, deps } = talk;
  const { identity, address } = admitted;
  const gone = AbortSignal.any([connection.gone, deps.stopping]);
  const options: EdgeCallOptions = { signal: gone, identity, assertion: deps.assertions.of(identity, address) };
  try {
    for await (const message of deps.mesh.stream(method, bytes, options, key)) {
      if (connection.gone.aborted) return undefined;
      const json = bytesToJson(method.output, message);
      countTokens(deps.admission, talk.request, () => json);
      await connection.send(json);
    }
    return undefined;
  } catch (thrown) {
    return connection.gone.aborted ? undefined : problem(talk, thrown);
  }
}

function problem({ deps, request }: Talk, thrown: unknown): Record<string, unknown> {
  const told = deps.stopping.aborted ? unavailable("The gateway is stopping", 1, "STOPPING") : deps.problemOf(thrown);
  return told.toJSON(deps.contexts.of(request.raw).id);
}

async function end(connection: Connection, failure: Record<string, unknown> | undefined): Promise<void> {
  if (failure === undefined) return connection.close(Close.normal, "");
  await connection.send({ error: failure });
  connection.close(codeOf(Number(failure["status"])), String(failure["code"]));
}

function codeOf(status: number): number {
  if (status === 503) return Close.goingAway;
  if (status === 429) return Close.tryAgainLater;
  return status >= 500 ? Close.internalError : Close.policyViolation;
}
