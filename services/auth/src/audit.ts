// The audit as people read it: whatever the mesh keeps for good, each event as one decision.
import type { PageOptions, StoredEvent } from "@warren/mesh";
import { type AuditEntry, AuditOutcome } from "@warren/proto/warren/auth/v1/auth";
import {
  DecisionMade,
  DevicePaired,
  DeviceRevoked,
  PairingRefused,
  PluginInstalled,
  PluginRemoved,
  PluginStateChanged,
  SecretAccessed,
} from "@warren/proto/warren/events/v1/events";
import { badPageToken, DEFAULT_PAGE_SIZE, type PageRequest } from "./pages.ts";

/** Where the events are kept. */
export type AuditLog = (options: PageOptions) => Promise<StoredEvent[]>;

/** Which entries are wanted. Empty texts and undefined: any. */
export interface AuditQuery extends PageRequest {
  readonly principal: string;
  /** The beginning of the action. */
  readonly action: string;
  readonly outcome: AuditOutcome;
  readonly startTime: Date | undefined;
}

/** One page, newest first. */
export interface AuditPage {
  readonly entries: AuditEntry[];
  /** Empty when there is no more. */
  readonly nextPageToken: string;
}

/** Events read from the mesh at once, and for one page: a rare match must not hold a request for ever. */
const CHUNK = 200;
const MOST_READ = 2_000;

/**
 * One page of the audit. It may be short, or empty, although there is more: then it has a token.
 * @throws RpcError INVALID_ARGUMENT when the page token is none of ours.
 */
export async function auditPage(log: AuditLog, query: AuditQuery): Promise<AuditPage> {
  const wanted = query.pageSize || DEFAULT_PAGE_SIZE;
  const entries: AuditEntry[] = [];
  let before = query.pageToken === "" ? Number.POSITIVE_INFINITY : decode(query.pageToken);
  for (let read = 0; read < MOST_READ;) {
    const found = await log({ before, limit: CHUNK });
    read += CHUNK;
    for (const stored of found) {
      if (query.startTime && stored.storedAt < query.startTime) return { entries, nextPageToken: "" };
      before = stored.sequence;
      const entry = entryOf(stored);
      if (matches(entry, query)) entries.push(entry);
      if (entries.length === wanted) return { entries, nextPageToken: encode(before) };
    }
    if (found.length === 0) {
      // Nothing where something may be: a stretch of the stream that has expired, or its beginning.
      return { entries, nextPageToken: "" };
    }
  }
  return { entries, nextPageToken: encode(before) };
}

function matches(entry: AuditEntry, { principal, action, outcome }: AuditQuery): boolean {
  return (
    (principal === "" || entry.principal === principal) &&
    entry.action.startsWith(action) &&
    (outcome === AuditOutcome.UNSPECIFIED || entry.outcome === outcome)
  );
}

/** What an event says, as a decision. Events of contracts to come are told by their names. */
export function entryOf({ sequence, storedAt, event, traceparent }: StoredEvent): AuditEntry {
  return {
    time: storedAt,
    principal: "",
    action: event.name,
    resource: "",
    outcome: AuditOutcome.ALLOWED,
    reason: "",
    address: "",
    count: 1,
    traceId: traceparent?.split("-")[1] ?? "",
    sequence: BigInt(sequence),
    ...partsOf(event),
  };
}

function partsOf(event: StoredEvent["event"]): Partial<AuditEntry> {
  const decision = event.as(DecisionMade);
  if (decision) {
    const { allowed, time, count, ...rest } = decision;
    const outcome = allowed ? AuditOutcome.ALLOWED : AuditOutcome.DENIED;
    return { ...rest, outcome, count: count || 1, ...(time ? { time } : {}) };
  }
  const paired = event.as(DevicePaired);
  if (paired)
    return { principal: `device:${paired.deviceId}`, action: "pairing.complete", resource: paired.deviceName };
  const refused = event.as(PairingRefused);
  if (refused) {
    const { pairingId: resource, reason, address, count } = refused;
    const outcome = AuditOutcome.DENIED;
    return {
      principal: "anonymous",
      action: "pairing.complete",
      resource,
      outcome,
      reason,
      address,
      count: count || 1,
    };
  }
  const revoked = event.as(DeviceRevoked);
  if (revoked) {
    const { principal, deviceId: resource, reason } = revoked;
    return { principal, action: "device.revoke", resource, reason };
  }
  const secret = event.as(SecretAccessed);
  if (secret) {
    const principal = secret.pluginId ? `plugin:${secret.pluginId}` : secret.principal;
    return { principal, action: `secret.${secret.action}`, resource: secret.name };
  }
  const installed = event.as(PluginInstalled);
  if (installed) {
    const { principal, pluginId, version } = installed;
    return { principal, action: "plugin.install", resource: `${pluginId} ${version}`.trim() };
  }
  const removed = event.as(PluginRemoved);
  if (removed) return { principal: removed.principal, action: "plugin.remove", resource: removed.pluginId };
  const changed = event.as(PluginStateChanged);
  if (changed) {
    const { hostId, pluginId: resource, state, reason } = changed;
    return { principal: `host:${hostId}`, action: `plugin.state.${state.toLowerCase()}`, resource, reason };
  }
  return {};
}

function encode(before: number): string {
  return Buffer.from(`audit.${before}`).toString("base64url");
}

function decode(token: string): number {
  const before = /^audit\.(\d{1,16})$/.exec(Buffer.from(token, "base64url").toString())?.[1];
  if (before === undefined) throw badPageToken();
  return Number(before);
}
