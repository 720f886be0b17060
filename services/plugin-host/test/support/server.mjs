// An MCP server for tests, by hand and without an SDK, so that it can also do what no SDK would. What it does is chosen by
// its tools, and by flags for what happens before the first call.
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { Socket } from "node:net";

const flags = new Set(process.argv.slice(2));
const send = (message) => writeSync(1, `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const raw = (text) => process.stdout.write(text);
const text = (value) => ({
  content: [{ type: "text", text: typeof value === "string" ? value : JSON.stringify(value) }],
});
const objectSchema = { type: "object" };
let names = [
  "echo",
  "meta",
  "spans",
  "env",
  "fail",
  "invalid",
  "slow",
  "spin",
  "never",
  "crash",
  "exit0",
  "garbage",
  "duplicate",
  "unknown-id",
  "deep",
  "huge",
  "flood",
  "grow",
  "lease",
  "add-tool",
  "count",
  "noise",
  "no-result",
  "structured",
  "oom-abort",
  "pid",
  "read",
  "write",
  "connect",
  "processes",
];
let calls = 0;
let lastId;
const pending = new Map();

if (flags.has("--ignore-sigterm")) process.on("SIGTERM", () => {});
if (flags.has("--exit")) {
  process.stderr.write("cannot start: no licence\n");
  process.exit(3);
}

const host = flags.has("--host-channel") ? new Socket({ fd: 4 }) : undefined;
if (host) {
  const lines = createInterface({ input: host });
  lines.on("line", (line) => {
    const message = JSON.parse(line);
    pending.get(message.id)?.(message);
  });
}
const askHost = (method, params) =>
  new Promise((resolve) => {
    const id = `h${++calls}`;
    pending.set(id, resolve);
    host.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`);
  });

const tools = {
  echo: (args) => text(args.text ?? ""),
  meta: (_args, params) => text(params._meta ?? {}),
  spans: (_args, params) => {
    const [, , parent] = params._meta.traceparent.split("-");
    const now = BigInt(Date.now()) * 1000000n;
    const span = {
      spanId: "00000000000000aa",
      parentSpanId: parent,
      name: "inside",
      startTimeUnixNano: String(now - 10n ** 12n),
      endTimeUnixNano: String(now),
      status: "ok",
    };
    return {
      ...text("spans"),
      _meta: { "dev.warren/spans": [span, { ...span, spanId: "00000000000000bb", parentSpanId: "00000000000000cc" }] },
    };
  },
  env: () => text(process.env),
  fail: () => ({ ...text("it did not work"), isError: true }),
  slow: async (args) => {
    await new Promise((resolve) => setTimeout(resolve, args.ms));
    return text("slept");
  },
  spin: (args) => {
    const until = args.ms ? Date.now() + args.ms : Infinity;
    while (Date.now() < until);
    return text("spun");
  },
  never: () => new Promise(() => {}),
  crash: () => {
    process.stderr.write("about to crash\n");
    process.exit(7);
  },
  exit0: () => process.exit(0),
  garbage: (args) => {
    for (let i = 0; i < (args.times ?? 1); i++) raw("this is no JSON \u001b[31m\n");
    return text("after garbage");
  },
  noise: () => {
    raw('\n[]\n42\n{"jsonrpc":"1.0","id":1,"result":{}}\n');
    return text("after noise");
  },
  deep: () => {
    const id = JSON.stringify(lastId);
    raw(
      `{"jsonrpc":"2.0","id":${id},"result":{"content":[],"structuredContent":{"x":${"[".repeat(50_000)}${"]".repeat(50_000)}}}}\n`,
    );
    return new Promise(() => {});
  },
  huge: () => {
    raw("x".repeat(9 * 1024 * 1024));
    return new Promise(() => {});
  },
  flood: () => {
    for (let i = 0; i < 20_000; i++)
      raw('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n');
    return new Promise(() => {});
  },
  grow: () => {
    const kept = [];
    for (;;) kept.push(Buffer.alloc(16 * 1024 * 1024, 1));
  },
  "oom-abort": () => {
    process.stderr.write("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n");
    process.abort();
  },
  lease: async (args) => text(await askHost("host/secrets.lease", { name: args.name })),
  "add-tool": () => {
    names = [...names, "added"];
    send({ method: "notifications/tools/list_changed" });
    return text("added");
  },
  count: () => text(String(++calls)),
  pid: () => text(String(process.pid)),
  structured: () => ({ content: [], structuredContent: { answer: 42 } }),
  read: async (args) => text(await import("node:fs").then((fs) => fs.readFileSync(args.path, "utf8"))),
  write: async (args) => {
    await import("node:fs").then((fs) => fs.writeFileSync(args.path, "written"));
    return text("written");
  },
  connect: async (args) => {
    const socket = new Socket();
    return await new Promise((resolve) => {
      socket.once("error", (error) => resolve({ ...text(String(error.code)), isError: true }));
      socket.connect(args.port, "127.0.0.1", () => resolve(text("connected")));
    });
  },
  processes: async () =>
    text(
      await import("node:fs").then((fs) =>
        fs
          .readdirSync("/proc")
          .filter((name) => /^\d+$/.test(name))
          .length.toString(),
      ),
    ),
};

async function call(id, params) {
  const { name, arguments: args = {} } = params;
  lastId = id;
  if (name === "invalid") return send({ id, error: { code: -32602, message: "text must be a string" } });
  if (name === "no-result") return send({ id });
  if (name === "unknown-id") {
    send({ id: 999_999, result: text("for nobody") });
    return send({ id, result: text("for you") });
  }
  try {
    const result = await tools[name](args, params);
    send({ id, result });
    if (name === "duplicate") send({ id, result });
  } catch (error) {
    send({ id, result: { ...text(String(error.code ?? error.message)), isError: true } });
  }
}
tools.duplicate = () => text("once");

function list(params) {
  const all = names.map((name) => ({
    name,
    description: `does ${name}`,
    inputSchema: objectSchema,
    ...(name === "structured"
      ? { outputSchema: { type: "object", properties: { answer: { pattern: "(a+)+$" } } } }
      : {}),
  }));
  if (flags.has("--endless-list"))
    return { tools: [{ ...all[0], name: `t${Math.random()}`.replace(".", "") }], nextCursor: String(Math.random()) };
  if (flags.has("--bad-name")) return { tools: [{ ...all[0], name: "a/../b" }] };
  const from = Number(params?.cursor ?? 0);
  return { tools: all.slice(from, from + 10), ...(from + 10 < all.length ? { nextCursor: String(from + 10) } : {}) };
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  if (flags.has("--silent")) return;
  if (method === "initialize") {
    if (flags.has("--stateless")) return send({ id, error: { code: -32601, message: "Method not found" } });
    return send({
      id,
      result: {
        protocolVersion: params.protocolVersion,
        capabilities: { tools: { listChanged: true } },
        serverInfo: { name: "test", version: "1.0.0" },
      },
    });
  }
  if (method === "server/discover" && flags.has("--stateless"))
    return send({
      id,
      result: {
        resultType: "complete",
        supportedVersions: ["2026-07-28"],
        capabilities: { tools: {} },
        ttlMs: 0,
        cacheScope: "private",
      },
    });
  if (method === "ping") return send({ id, result: {} });
  if (method === "tools/list")
    return send({
      id,
      result: {
        ...list(params),
        ...(flags.has("--stateless") ? { resultType: "complete", ttlMs: 0, cacheScope: "private" } : {}),
      },
    });
  if (method === "tools/call") {
    if (!flags.has("--stateless")) return void call(id, params);
    return send({ id, result: { resultType: "complete", ...text("stateless") } });
  }
  if (id !== undefined) send({ id, error: { code: -32601, message: "Method not found" } });
});
