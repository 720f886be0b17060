// Asks the service of this container how it is, for container engines that run a command: exit code 0 when it is well.
// Usage: node packages/service/src/probe.ts live|ready <port>
// It imports nothing but Node.js' own: it runs every few seconds.
import { request } from "node:http";

/** Shorter than the engines' own time limit, so that the answer says what was wrong. */
const PATIENCE_MS = 2_500;

const [what = "", portText = ""] = process.argv.slice(2);
const port = Number(portText);
if (!["live", "ready"].includes(what) || !Number.isInteger(port) || port <= 0 || port > 65_535)
  end(2, "usage: node packages/service/src/probe.ts live|ready <port>");

const ask = request({ host: "127.0.0.1", port, path: `/health/${what}`, timeout: PATIENCE_MS }, (response) => {
  let text = "";
  response.on("data", (chunk: Buffer) => (text += chunk.toString()));
  response.on("end", () => end(response.statusCode === 200 ? 0 : 1, text.trim()));
});
ask.on("timeout", () => ask.destroy(new Error(`no answer within ${PATIENCE_MS} ms`)));
ask.on("error", (error) => end(1, error.message));
ask.end();

function end(code: number, text: string): never {
  process.stdout.write(`${text}\n`);
  process.exit(code);
}
