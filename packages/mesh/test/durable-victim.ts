// A process that consumes stored events and never ends handling one, for tests that kill it.
// Arguments: the server's URL, the credential's file.
import { readFileSync } from "node:fs";
import { connectMesh, parseCredentials } from "@warren/mesh";
import { PluginInstalled } from "@warren/proto/warren/events/v1/events";

const [url = "", file = ""] = process.argv.slice(2);
const drop = (): void => undefined;
const mesh = await connectMesh({
  servers: [url],
  credentials: parseCredentials(readFileSync(file, "utf8")),
  log: { error: drop, warn: drop, info: drop, debug: drop },
});
await mesh.consume(PluginInstalled, { durable: "notices", concurrency: 1 }, ({ pluginId }, { deliveries }) => {
  process.stdout.write(`${pluginId} ${deliveries}\n`);
  return new Promise(() => undefined);
});
