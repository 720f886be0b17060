import { definePlugin } from "../../src/index.ts";

// The twin of sdk/python/test/plugin.py: conformance.test.ts expects the same of both.
const any = { type: "object" };

definePlugin({
  name: "fixture",
  version: "1.2.3",
  instructions: "Use it in tests.",
  start({ log, config }) {
    if (process.env["FAIL_START"] === "1") throw new Error("no luck today");
    log("started with", JSON.stringify(config));
  },
  stop() {
    process.stderr.write("stopped\n");
  },
  health: () => ({ status: "degraded", message: "a fixture" }),
  configChanged(config) {
    if (config["bad"] === true) throw new Error("that configuration is bad");
  },
  saveState: () => ({ count: 3 }),
  restoreState(state) {
    process.stderr.write(`restored ${JSON.stringify(state)}\n`);
  },
  tools: {
    text: { title: "Text", description: "Text.", inputSchema: any, run: () => "plain" },
    structured: { description: "Structured.", inputSchema: any, run: (args) => ({ args }) },
    blocks: { description: "Blocks.", inputSchema: any, run: () => [{ type: "text", text: "one" }] },
    nothing: { description: "Nothing.", inputSchema: any, run: () => undefined },
    fail: {
      description: "Fails.",
      inputSchema: any,
      run() {
        throw new Error("it is broken");
      },
    },
    unsendable: { description: "Not JSON.", inputSchema: any, run: () => ({ value: 1n }) },
    print: {
      description: "Prints.",
      inputSchema: any,
      run() {
        console.log("printed");
        return "done";
      },
    },
    wait: {
      description: "Waits until it is cancelled.",
      inputSchema: any,
      run: (_args, { signal, log }) =>
        new Promise((resolve) => {
          log("waiting");
          signal.addEventListener("abort", () => {
            log("was cancelled");
            resolve("late");
          });
        }),
    },
    lease: {
      description: "Leases a secret.",
      inputSchema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
      async run({ name }: { name: string }, { host }) {
        host.log(`wants ${name}`, "warn");
        return { lease: await host.secrets.lease(name) };
      },
    },
    trace: { description: "Trace.", inputSchema: any, run: (_args, context) => context.traceparent ?? "none" },
    checked: {
      description: "Checks.",
      inputSchema: {
        type: "object",
        properties: {
          name: { type: "string", minLength: 2, maxLength: 4, pattern: "^[a-z]+$" },
          kind: { type: "string", enum: ["a", "b"] },
          count: { type: "integer", minimum: 1, maximum: 9 },
          on: { type: ["boolean", "null"] },
          list: { type: "array", items: { type: "number" }, maxItems: 2 },
          inner: { type: "object", properties: { x: { const: 1 } }, required: ["x"], additionalProperties: false },
        },
        required: ["name"],
        additionalProperties: false,
      },
      run: () => "fine",
    },
  },
});
