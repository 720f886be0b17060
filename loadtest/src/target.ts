// The system under load, as a client sees it.
import { Pool } from "undici";

/** What a request was answered with. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export interface RequestOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Absent: the operator's; null: none. */
  readonly token?: string | null;
  /** Called when the first byte of the body is there. */
  readonly onFirstByte?: () => void;
}

/** Where requests go. */
export interface Target {
  readonly url: string;
  readonly token: string;
  request(method: "GET" | "POST" | "PUT" | "DELETE", path: string, options?: RequestOptions): Promise<Answer>;
  close(): Promise<void>;
}

const TIMEOUT_MS = 30_000;
const CONNECTIONS = 256;

/** Opens connections as they are needed, and keeps them. */
export function openTarget(url: string, token: string): Target {
  const pool = new Pool(url, { connections: CONNECTIONS, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS });
  return {
    url,
    token,
    request: async (method, path, options = {}) => {
      const own = options.token === undefined ? token : options.token;
      const { statusCode, headers, body } = await pool.request({
        method,
        path,
        headers: {
          ...(own === null ? {} : { authorization: `Bearer ${own}` }),
          ...(options.body === undefined ? {} : { "content-type": "application/json" }),
          ...options.headers,
        },
        ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      });
      if (!options.onFirstByte) return { status: statusCode, headers, text: await body.text() };
      const chunks: Buffer[] = [];
      for await (const chunk of body) {
        if (chunks.push(chunk as Buffer) === 1) options.onFirstByte();
      }
      return { status: statusCode, headers, text: Buffer.concat(chunks).toString() };
    },
    close: () => pool.close(),
  };
}
