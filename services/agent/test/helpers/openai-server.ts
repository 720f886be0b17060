// A local server that speaks the wire format of OpenAI's chat completions, streaming included, from a script.
// https://platform.openai.com/docs/api-reference/chat/create
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as a client sent it. */
export interface ChatCompletionRequest {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: {
    readonly model: string;
    readonly stream?: boolean;
    readonly messages: readonly {
      readonly role: string;
      readonly content?: unknown;
      readonly tool_call_id?: string;
      readonly tool_calls?: readonly {
        readonly id: string;
        readonly function: { readonly name: string; readonly arguments: string };
      }[];
    }[];
    readonly tools?: readonly {
      readonly function: { readonly name: string; readonly description?: string; readonly parameters: unknown };
    }[];
    readonly tool_choice?: unknown;
  };
}

/** What the server does with one request. */
export type ScriptedAnswer =
  /** An answer; `arguments` may be text to send broken JSON. */
  | {
      readonly text?: string;
      readonly toolCalls?: readonly { readonly name: string; readonly arguments: object | string }[];
      readonly usage?: { readonly input: number; readonly output: number };
    }
  /** An HTTP error in OpenAI's form. */
  | { readonly status: number; readonly message?: string; readonly location?: string }
  /** `connection`: closed at once; `hang`: never a byte; `stall`: some text, then nothing; `cut`: some text, then closed. */
  | { readonly fault: "connection" | "hang" | "stall" | "cut"; readonly text?: string };

/** Answers request after request: a list in order (its last entry again and again), or a function of the request. */
export type Script = readonly ScriptedAnswer[] | ((request: ChatCompletionRequest, index: number) => ScriptedAnswer);

/** A running server. */
export interface OpenAiServer {
  /** Base URL, as clients are configured with. */
  readonly url: string;
  readonly requests: readonly ChatCompletionRequest[];
  /** Resolves when a client has closed the connection of a request that was not answered to its end. */
  readonly cancelled: Promise<void>;
  close(): Promise<void>;
}

/** Starts the server on a free loopback port. */
export async function startOpenAiServer({ script }: { script: Script }): Promise<OpenAiServer> {
  const requests: ChatCompletionRequest[] = [];
  const cancelled = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    response.on("close", () => {
      if (!response.writableFinished) cancelled.resolve();
    });
    answerRequest(request, response).catch((error: unknown) => response.destroy(error as Error));
  });

  async function answerRequest(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const request: ChatCompletionRequest = {
      path: incoming.url ?? "",
      authorization: incoming.headers.authorization,
      body: JSON.parse(Buffer.concat(chunks).toString()) as ChatCompletionRequest["body"],
    };
    const index = requests.push(request) - 1;
    const answer = typeof script === "function" ? script(request, index) : (script[index] ?? script.at(-1));
    if (!answer) throw new Error("The script has no answer");
    if ("fault" in answer) return misbehave(answer, response, request);
    if ("status" in answer) {
      const { status, message = "scripted", location } = answer;
      response.writeHead(status, { "content-type": "application/json", ...(location ? { location } : {}) });
      response.end(JSON.stringify({ error: { message, type: "scripted", param: null, code: null } }));
      return;
    }
    const { text = "", toolCalls = [], usage = { input: 11, output: 7 } } = answer;
    const calls = toolCalls.map((call, position) => ({
      index: position,
      id: `call_${index}_${position}`,
      type: "function",
      function: {
        name: call.name,
        arguments: typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments),
      },
    }));
    const reason = calls.length > 0 ? "tool_calls" : "stop";
    const totals = {
      prompt_tokens: usage.input,
      completion_tokens: usage.output,
      total_tokens: usage.input + usage.output,
    };
    if (request.body.stream !== true) {
      const message = { role: "assistant", content: text, ...(calls.length > 0 ? { tool_calls: calls } : {}) };
      const choices = [{ index: 0, message, finish_reason: reason }];
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ ...head(request, "chat.completion"), choices, usage: totals }));
      return;
    }
    const send = openStream(response, request);
    send({ role: "assistant", content: "" });
    for (const piece of text.match(/\S+\s*|\s+/g) ?? []) send({ content: piece });
    for (const call of calls) {
      send({ tool_calls: [{ ...call, function: { name: call.function.name, arguments: "" } }] });
      // Arguments arrive in fragments that are no JSON by themselves.
      for (const part of call.function.arguments.match(/.{1,5}/gs) ?? []) {
        send({ tool_calls: [{ index: call.index, function: { arguments: part } }] });
      }
    }
    send({}, reason);
    write(response, { ...head(request, "chat.completion.chunk"), choices: [], usage: totals });
    response.end("data: [DONE]\n\n");
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    cancelled: cancelled.promise,
    async close() {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

function misbehave(
  { fault, text = "Once upon" }: Extract<ScriptedAnswer, { fault: unknown }>,
  response: ServerResponse,
  request: ChatCompletionRequest,
): void {
  if (fault === "connection") response.destroy();
  if (fault === "connection" || fault === "hang") return;
  openStream(response, request)({ role: "assistant", content: text });
  if (fault === "cut") response.end();
}

function openStream(response: ServerResponse, request: ChatCompletionRequest) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  return (delta: object, finish_reason: string | null = null): void =>
    write(response, { ...head(request, "chat.completion.chunk"), choices: [{ index: 0, delta, finish_reason }] });
}

function head(request: ChatCompletionRequest, object: string): object {
  return { id: "chatcmpl-1", object, created: 1_700_000_000, model: request.body.model };
}

function write(response: ServerResponse, chunk: object): void {
  response.write(`data: ${JSON.stringify(chunk)}\n\n`);
}
