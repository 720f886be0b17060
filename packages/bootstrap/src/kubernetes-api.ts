// As much of the Kubernetes API as Secrets need, spoken from inside a pod with its own service account.
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";

/** A Secret as the API has it; data is base64 by name. */
export interface Secret {
  readonly apiVersion: "v1";
  readonly kind: "Secret";
  readonly type?: string;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly resourceVersion?: string;
  };
  readonly data?: Readonly<Record<string, string>>;
}

/** The Secrets of one namespace. */
export interface Api {
  /** Undefined: there is none of this name. */
  read(name: string): Promise<Secret | undefined>;
  /** @returns false when there is one of this name already. */
  create(secret: Secret): Promise<boolean>;
  /** @returns false when somebody changed it since it was read. */
  replace(secret: Secret): Promise<boolean>;
}

/** Answers a request: status and body. */
export type Transport = (method: string, path: string, body?: object) => Promise<{ status: number; text: string }>;

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
const REQUEST_MS = 15_000;
const MAX_ANSWER_BYTES = 4 << 20;

/**
 * The API that this pod's service account reaches.
 * @throws Error outside of a pod, or in one without a token.
 */
export function inClusterApi(folder = ACCOUNT): Api {
  const read = (name: string): string => {
    try {
      return readFileSync(join(folder, name), "utf8").trim();
    } catch (cause) {
      const message = `No service account at ${folder} (${name}): this runs in a pod whose service account may write Secrets`;
      throw new Error(message, { cause });
    }
  };
  return secretsApi(read("namespace"), overHttps(read("token"), read("ca.crt")));
}

/** The Secrets of `namespace`, over any transport. */
export function secretsApi(namespace: string, send: Transport): Api {
  const base = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`;
  const at = (name: string): string => `${base}/${encodeURIComponent(name)}`;
  return {
    read: async (name) => {
      const { status, text } = await send("GET", at(name));
      if (status === 404) return undefined;
      if (status !== 200) throw refused("read", name, status, text);
      return JSON.parse(text) as Secret;
    },
    create: async (secret) => {
      const { status, text } = await send("POST", base, secret);
      if (status === 409) return false;
      if (status !== 201) throw refused("create", secret.metadata.name, status, text);
      return true;
    },
    replace: async (secret) => {
      const { status, text } = await send("PUT", at(secret.metadata.name), secret);
      if (status === 409) return false;
      if (status !== 200) throw refused("replace", secret.metadata.name, status, text);
      return true;
    },
  };
}

/** The API's reason names the account and the verb; the answer to a successful request, which holds secrets, never gets here. */
function refused(verb: string, name: string, status: number, text: string): Error {
  let reason = "";
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string") reason = message;
  } catch {
    // A proxy's page says nothing that helps.
  }
  return new Error(`Kubernetes refuses to ${verb} the Secret ${name} (${status})${reason ? `: ${reason}` : ""}`);
}

function overHttps(token: string, ca: string): Transport {
  return (method, path, body) =>
    new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const sent = request(
        {
          host: "kubernetes.default.svc",
          port: 443,
          method,
          path,
          ca,
          timeout: REQUEST_MS,
          headers: {
            authorization: `Bearer ${token}`,
            accept: "application/json",
            ...(payload === undefined
              ? {}
              : { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }),
          },
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => {
            text += chunk;
            if (text.length > MAX_ANSWER_BYTES) response.destroy(new Error("The Kubernetes API's answer is too long"));
          });
          response.on("error", reject);
          response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
        },
      );
      sent.on("timeout", () => sent.destroy(new Error(`The Kubernetes API did not answer within ${REQUEST_MS} ms`)));
      sent.on("error", reject);
      sent.end(payload);
    });
}
