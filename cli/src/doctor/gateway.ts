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
  const token = await access?.token();
  const request = { method: "GET", path: "/health", query: { detailed: "true" }, timeout: 10_000 } as const;
  const response = await exchange(fetch, url, request, token);
  const body: unknown = await response.json().catch(() => undefined);
  if (!isRecord(body) || typeof body["status"] !== "string") {
    const { title } = problemFrom(body, response.status, response.headers);
    return [
      { group: "gateway", name: "health", state: "warning", detail: `${url} is no Warren gateway (${oneLine(title)})` },
    ];
  }
  const status = oneLine(body["status"]);
  const overall: Finding = { group: "gateway", name: "health", state: stateOf(status), detail: `${url} is ${status}` };
  return [overall, ...partsOf(body)];
}

/** The checks of the health document: `{ "checks": { "<name>": { "status", "detail"? } } }`, or a list of them with names. */
function partsOf(body: Record<string, unknown>): Finding[] {
  const checks = body["checks"];
  const named: (readonly [string, unknown])[] = Array.isArray(checks)
    ? checks.filter(isRecord).map((each) => [String(each["name"]), each] as const)
    : Object.entries(isRecord(checks) ? checks : {});
  return named.map(([name, value]) => {
    const check = isRecord(value) ? value : { status: value };
    const status = oneLine(String(check["status"]));
    const said = [check["detail"], check["message"], check["reason"], check["error"]].find(
      (each) => typeof each === "string" && each,
    );
    const detail = typeof said === "string" ? `${status}: ${oneLine(said)}` : status;
    return { group: "gateway", name: oneLine(name), state: stateOf(status), detail };
  });
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
