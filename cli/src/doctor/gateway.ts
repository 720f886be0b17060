// Whether a gateway answers, and what it says of the mesh behind it.
import { createServer } from "node:net";
import { createClient } from "../api/client.ts";
import { isRecord, problemFrom } from "../api/problem.ts";
import { type Credentials, exchange, type Fetch, isLoopback } from "../api/transport.ts";
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
  const ask = async (detailed: boolean, credentials: Credentials | undefined): Promise<Response> =>
    exchange(
      fetch,
      url,
      { method: "GET", path: "/health", ...(detailed ? { query: { detailed: "true" } } : {}), timeout: 10_000 },
      credentials,
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
    ...records(body["checks"]).map((check) => partFinding("gateway", check)),
    ...records(body["services"]).flatMap(serviceFindings),
  ];
}

/** A service, and each check of each of its replicas; callers without the right to details are told how many there are. */
function serviceFindings(service: Record<string, unknown>): Finding[] {
  const name = text(service["service"]);
  const status = statusOf(service);
  const replicas = records(service["replicas"]);
  const count = typeof service["replicas"] === "number" ? service["replicas"] : replicas.length;
  const detail = `${status}, ${count} ${count === 1 ? "replica" : "replicas"}`;
  return [
    { group: "gateway", name, state: stateOf(status), detail },
    ...replicas.flatMap((replica) =>
      records(replica["checks"]).map((check) => partFinding(text(replica["instanceId"]), check)),
    ),
  ];
}

function partFinding(of: string, check: Record<string, unknown>): Finding {
  const status = statusOf(check);
  const message = text(check["message"]);
  const detail = message ? `${status}: ${message}` : status;
  return { group: "gateway", name: `${of}: ${text(check["name"])}`, state: stateOf(status), detail };
}

function statusOf(part: Readonly<Record<string, unknown>>): string {
  const { status } = part;
  return text(status) || "unknown";
}

function text(value: unknown): string {
  return typeof value === "string" ? oneLine(value) : "";
}

function records(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

/** A token that cannot be had is reported as access, and must not hide the health. */
async function tokenIfAny(access: Access | undefined): Promise<Credentials | undefined> {
  try {
    return await access?.credentials();
  } catch (error) {
    if (error instanceof CliError) return undefined;
    throw error;
  }
}

/** A part that is ill is the mesh's business, and its own log's: the doctor's exit code speaks of this machine. */
function stateOf(status: string): Finding["state"] {
  return status === "healthy" ? "ok" : "warning";
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
