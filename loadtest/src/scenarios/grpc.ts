// Programs that call the gateway by gRPC, from the same contracts.
import { fileURLToPath } from "node:url";
import { type Client, credentials, loadPackageDefinition, Metadata, type ServiceError } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { check } from "../recorder.ts";
import type { Scenario } from "../scenario.ts";

const PROTO = fileURLToPath(new URL("../../../proto/", import.meta.url));
const GOOGLE = fileURLToPath(new URL("../../../node_modules/google-proto-files/", import.meta.url));
const CONNECT_MS = 3000;
const DEADLINE_MS = 10_000;

interface ToolResult {
  readonly isError: boolean;
  readonly content: readonly object[];
}
type CallTool = (
  request: object,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: ServiceError | null, answer?: ToolResult) => void,
) => void;
type PluginClient = Client & { readonly CallTool: CallTool };

export const grpc: Scenario = {
  name: "grpc",
  description: "a tool call by gRPC",
  rate: 150,
  limits: "open",
  trend: "grpc call",
  async unavailable({ stack }) {
    const address = stack?.grpcAddress;
    if (address === undefined) return "the address of the gateway's gRPC port is not known";
    const client = connect(address);
    try {
      await ready(client);
      return undefined;
    } catch {
      return "the gateway serves no gRPC";
    } finally {
      client.close();
    }
  },
  async prepare({ stack, target, recorder }) {
    const client = connect(stack?.grpcAddress ?? "");
    await ready(client);
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${target.token}`);
    const request = { pluginId: "clock", tool: "get_current_time", arguments: { fields: {} } };
    return {
      async iterate() {
        const begun = performance.now();
        const answer = await new Promise<ToolResult>((resolve, reject) => {
          client.CallTool(request, metadata, { deadline: Date.now() + DEADLINE_MS }, (error, found) =>
            error ? reject(error) : resolve(found as ToolResult),
          );
        });
        recorder.time("grpc call", performance.now() - begun);
        check(!answer.isError && answer.content.length > 0, "the time", answer);
      },
      close: () => Promise.resolve(client.close()),
    };
  },
};

function connect(address: string): PluginClient {
  const definition = loadSync("warren/plugins/v1/plugins.proto", { includeDirs: [PROTO, GOOGLE], defaults: true });
  const root = loadPackageDefinition(definition) as unknown as {
    warren: { plugins: { v1: { PluginService: new (address: string, security: unknown) => PluginClient } } };
  };
  return new root.warren.plugins.v1.PluginService(address, credentials.createInsecure());
}

function ready(client: Client): Promise<void> {
  return new Promise((resolve, reject) =>
    client.waitForReady(Date.now() + CONNECT_MS, (error) => (error ? reject(error) : resolve())),
  );
}
