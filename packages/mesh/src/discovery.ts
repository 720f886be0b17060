// Discovery and statistics by NATS' own convention, ADR-32, so that `nats micro ls|info|stats` shows every service.
import type { Msg } from "@nats-io/transport-node";
import type { Connection } from "./connection.ts";
import { type Inbox, isInbox, isNoResponders } from "./inbox.ts";
import type { Server } from "./server.ts";
import { methodSubject } from "./subject.ts";

export interface DiscoveryOptions {
  readonly name: string;
  readonly instanceId: string;
  readonly version: string;
  readonly description: string;
  readonly connection: Connection;
  readonly server: Server;
}

const NS_PER_MS = 1e6;

/** Answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, for all services, this one, and this replica. */
export function serveDiscovery(options: DiscoveryOptions): void {
  const { name, instanceId, version, description, connection, server } = options;
  const started = new Date().toISOString();
  const identity = () => ({ name, id: instanceId, version, metadata: { serving: String(server.serving) } });
  const endpoints = () =>
    [...server.endpoints.values()].map(({ method, stats }) => ({
      name: `${method.service}.${method.name}`.replaceAll(".", "_"),
      subject: methodSubject(method.service, method.name),
      queue_group: method.everyReplica ? "" : name,
      metadata: { contract: method.hash },
      stats,
    }));
  const answers: Record<string, () => object> = {
    PING: () => ({ ...identity(), type: "io.nats.micro.v1.ping_response" }),
    INFO: () => ({
      ...identity(),
      type: "io.nats.micro.v1.info_response",
      description,
      endpoints: endpoints().map(({ stats: _, ...endpoint }) => endpoint),
    }),
    STATS: () => ({
      ...identity(),
      type: "io.nats.micro.v1.stats_response",
      started,
      endpoints: endpoints().map(({ stats, metadata: _, ...endpoint }) => ({
        ...endpoint,
        num_requests: stats.requests,
        num_errors: stats.errors,
        last_error: stats.lastError,
        processing_time: Math.round(stats.processingMs * NS_PER_MS),
        average_processing_time: Math.round((stats.processingMs * NS_PER_MS) / Math.max(1, stats.requests)),
        data: { p50Ms: stats.quantileMs(0.5), p99Ms: stats.quantileMs(0.99) },
      })),
    }),
  };
  for (const [verb, answer] of Object.entries(answers))
    for (const suffix of ["", `.${name}`, `.${name}.${instanceId}`])
      connection.subscribe(`$SRV.${verb}${suffix}`, (message: Msg) => {
        if (isInbox(message.reply)) connection.nats.publish(message.reply, JSON.stringify(answer()));
      });
}

/** How long replicas have to answer when they are counted, in milliseconds. */
const COUNT_MS = 250;

/**
 * How many other replicas of a service there are.
 * @param which `serving`: those that drain or have stepped aside do not count.
 */
export async function countOthers(
  connection: Connection,
  inbox: Inbox,
  name: string,
  instanceId: string,
  which: "all" | "serving" = "serving",
): Promise<number> {
  const others = new Set<string>();
  const route = inbox.open((message) => {
    if (isNoResponders(message)) return;
    const { id, metadata } = JSON.parse(message.string()) as { id: string; metadata?: { serving?: string } };
    if (id !== instanceId && (which === "all" || metadata?.serving === "true")) others.add(id);
  });
  connection.nats.publish(`$SRV.PING.${name}`, undefined, { reply: route.subject });
  await new Promise((resolve) => setTimeout(resolve, COUNT_MS));
  route.close();
  return others.size;
}
