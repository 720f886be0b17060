// Callers on this machine that may be trusted more: never by their address, which every proxy and tunnel shares, but in an
// explicit mode, by a secret in a file that only this machine's user can read, or by the gateway's Unix socket.
import { hash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/** The header that carries the secret. */
export const LOCAL_TOKEN_HEADER = "x-warren-local-token";
const SHORTEST_TOKEN = 32;
/** Whoever forwards a request speaks for somebody else, who need not be on this machine. */
const FORWARDING =
  /^(?:forwarded|via|x-forwarded(?:-.*)?|x-real-ip|x-client-ip|x-cluster-client-ip|true-client-ip|client-ip|cf-.*|fastly-client-ip|fly-.*|x-envoy-.*|x-original-.*|tailscale-.*|ngrok-.*|x-ngrok-.*|cdn-loop)$/;

/** Tells which requests are trusted as local. */
export class LocalTrust {
  readonly #secret: Buffer | undefined;
  readonly #sockets = new WeakSet<Socket>();

  /** @param secret What {@link LOCAL_TOKEN_HEADER} must hold; undefined: nobody is trusted by a secret. */
  constructor(secret: string | undefined) {
    this.#secret = secret === undefined ? undefined : digest(secret);
  }

  /** A connection of the gateway's own Unix socket. */
  addSocket(socket: Socket): void {
    this.#sockets.add(socket);
  }

  /** Whether a request comes from this machine, in a way that only this machine's user can. The secret is not passed on. */
  trusts(request: IncomingMessage): boolean {
    const given = request.headers[LOCAL_TOKEN_HEADER];
    delete request.headers[LOCAL_TOKEN_HEADER];
    const bySocket = this.#sockets.has(request.socket);
    const byToken =
      this.#secret !== undefined && typeof given === "string" && timingSafeEqual(digest(given), this.#secret);
    if (!bySocket && !byToken) return false;
    for (const name in request.headers) if (FORWARDING.test(name)) return false;
    return true;
  }
}

function digest(text: string): Buffer {
  return hash("sha256", text, "buffer");
}

/**
 * The secret in a file.
 * @throws Error when others than its owner may read it, or it is too short to be a secret.
 */
export function readLocalToken(file: string): string {
  const { mode } = statSync(file);
  if ((mode & 0o077) !== 0)
    throw new Error(`WARREN_HTTP_LOCAL_TOKEN_FILE: ${file} can be read by others: chmod 600 ${file}`);
  const token = readFileSync(file, "utf8").trim();
  if (token.length < SHORTEST_TOKEN)
    throw new Error(
      `WARREN_HTTP_LOCAL_TOKEN_FILE: ${file} must hold at least ${SHORTEST_TOKEN} characters: openssl rand -hex 32`,
    );
  return token;
}
