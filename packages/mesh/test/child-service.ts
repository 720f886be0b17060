// A service in a process of its own, for tests that kill or stop it. Arguments: what it does, NATS' address, and the
// file of its credential. It tells what happens line by line on standard output.
import { readFileSync } from "node:fs";
import { connectMesh, parseCredentials } from "@warren/mesh";
import { ServiceStarted } from "@warren/proto/warren/events/v1/events";
import { silentLog } from "@warren/testing";
import { streamingContract, StreamingDefinition } from "./streaming-contract.ts";
import { serveSecrets } from "./support.ts";

const [role, url = "", credentialsFile = ""] = process.argv.slice(2);
const credentials = parseCredentials(readFileSync(credentialsFile, "utf8"));
const mesh = await connectMesh({ servers: [url], credentials, log: silentLog, contractOf: streamingContract });
const say = (text: string): void => void process.stdout.write(`${text}\n`);

if (role === "never-answers")
  await serveSecrets(mesh, {
    putSecret: ({ name }) => {
      say(`runs ${name}`);
      return new Promise(() => undefined);
    },
  });
else if (role === "listens") await mesh.subscribe(ServiceStarted, ({ instanceId }) => say(`event ${instanceId}`));
say("ready");

async function* endless() {
  for (let sequence = 1; ; sequence++) {
    yield { sequence };
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
if (role === "relays") for await (const _ of mesh.client(StreamingDefinition).relay(endless())) continue;
