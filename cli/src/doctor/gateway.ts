// Whether a gateway answers, and what it says of the mesh behind it.
import { createServer } from "node:net";
import { createClient } from "../api/client.ts";
import { isRecord, problemFrom } from "../api/problem.ts";
import { exchange, type Fetch, isLoopback } from "../api/transport.ts";
import { CliError, systemCode } from "../errors.ts";
import { oneLine } from "../output/sanitize.ts";
import type { Access } from "../api/access.ts";
import type { Finding } from "./finding.ts";

/** What to ask, and as whom. */
export interface GatewayProbe {
  readonly url: string;
  /** Undefined: nobody; the health of the mesh as a whole is public. */
  readonly access: Access | undefined;
  readonly fetch: Fetch;
}

/** Asks the gateway for the health of the mesh. That none runs is a warning: the doctor is asked before the first start too. */
export async function checkGateway(probe: GatewayProbe): Promise<Finding[]> {
  try {
    return [...(await checkHealth(probe)), ...(await checkAccess(probe))];
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    const port = Number(new URL(probe.url).port);
    const taken = isLoopback(probe.url) && port > 0 && (await isTaken(port));
    return [
      {
        group: "gateway",
        name: "reachable",
        state: "warning",
        detail: taken ? `another program uses port ${port}` : error.message,
        mend: taken ? `WARREN_HTTP_PORT=${port + 1} warren up` : "warren up",
      },
    ];
  }
}

async function checkHealth({ url, access, fetch }: GatewayProbe): Promise<Finding[]> {
  const ask = async (detailed: boolean, token: string | undefined): Promise<Response> =>
    exchange(
      fetch,
      url,
      { method: "GET", path: "/health", ...(detailed ? { query: { detailed: "true" } } : {}), timeout: 10_000 },
      token,
    );
  let response = await ask(true, await tokenIfAny(access));
  // Without rights the details stay hidden, and how the whole is remains to be said.
  if (response.status === 401 || response.status === 403) response = await ask(false, undefined);
  const body: unknown = await response.json().catch(() => undefined);
  if (!isRecord(body) || typeof body["status"] !== "string") {
    const { title } = problemFrom(body, response.status, response.headers);
    const detail = `${url} is no Warren gateway (${oneLine(title)})`;
    return [{ group: "gateway", name: "health", state: "warning", detail }];
  }
  const status = statusOf(body);
  return [
    { group: "gateway", name: "health", state: stateOf(status), detail: `${url} is ${status}` },
    ...namedParts(body["checks"], ""),
    ...namedParts(body["services"], ""),
  ];
}

/** Parts of the health document, as a list in which each has its name or as an object by name; a service has parts of its own. */
function namedParts(parts: unknown, within: string): Finding[] {
  const entries: (readonly [unknown, unknown])[] = Array.isArray(parts)
    ? parts.filter(isRecord).map((each) => [each["instanceId"] ?? each["service"] ?? each["name"], each])
    : Object.entries(isRecord(parts) ? parts : {});
  return entries.flatMap(([key, value]) => {
    const part = isRecord(value) ? value : { status: value };
    const name = within + oneLine(typeof key === "string" ? key : "?");
    const status = statusOf(part);
    const said = part["message"] ?? part["detail"];
    const detail = typeof said === "string" && said ? `${status}: ${oneLine(said)}` : status;
    return [{ group: "gateway", name, state: stateOf(status), detail }, ...namedParts(part["checks"], `${name}: `)];
  });
}

function statusOf(part: Readonly<Record<string, unknown>>): string {
  const { status } = part;
  return typeof status === "string" ? oneLine(status.replace(/^HEALTH_STATUS_/, "").toLowerCase()) : "unknown";
}

/** A token that cannot be had is reported as access, and must not hide the health. */
async function tokenIfAny(access: Access | undefined): Promise<string | undefined> {
  try {
    return await access?.token();
  } catch (error) {
    if (error instanceof CliError) return undefined;
    throw error;
  }
}

/** A part that is ill is the mesh's business, and its own log's: the doctor's exit code speaks of this machine. */
function stateOf(status: string): Finding["state"] {
  return /^(healthy|ok|up|pass)$/i.test(status) ? "ok" : "warning";
}

async function checkAccess({ url, access, fetch }: GatewayProbe): Promise<Finding[]> {
  const finding = { group: "access", name: "token" } as const;
  if (!access)
    return [{ ...finding, state: "warning", detail: `this device is not paired with ${url}`, mend: "warren pair" }];
  try {
    await createClient(url, access, fetch).json({ method: "GET", path: "/v1/plugins", query: { pageSize: 1 } });
    return [{ ...finding, state: "ok", detail: `accepted (${oneLine(access.identity)})` }];
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return [{ ...finding, state: "warning", detail: error.message, mend: error.hint ?? "warren pair --replace" }];
  }
}

async function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(systemCode(error) === "EADDRINUSE"));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(false)));
  });
}
