// Uploads of plugin packages: streamed to a temporary file while they are hashed, then into the mesh under their hash.
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import type { ObjectBucket } from "@warren/mesh";
import type { FastifyInstance } from "fastify";
import { bodyTooLarge } from "./framework-errors.ts";
import { badRequest, unavailable } from "./problem.ts";
import type { RoutePolicy } from "./routes.ts";

/** Largest package, in bytes. */
export const PACKAGE_LIMIT = 64 * 1024 * 1024;
/** Uploads at once: their temporary files together are bounded, too. */
const MOST_UPLOADS = 4;

export const packagePolicy: RoutePolicy = { template: "/v1/packages", scope: "plugins:write", limitClass: "write" };

export interface PackageDependencies {
  /** The mesh's `plugin_packages`. */
  readonly packages: Pick<ObjectBucket, "put" | "has">;
  /** Where temporary folders are made. Absent: the system's place. */
  readonly tempDir?: string | undefined;
}

/** Adds `POST /v1/packages`: the body is the package, the answer `{digest, size}`. */
export function servePackages(app: FastifyInstance, { packages, tempDir = tmpdir() }: PackageDependencies): void {
  let uploads = 0;
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    // The body is not read here: the handler takes the stream, piece by piece.
    scope.addContentTypeParser(["application/gzip", "application/octet-stream"], (_request, payload, done) =>
      done(null, payload),
    );
    scope.post(
      "/v1/packages",
      { config: { policy: packagePolicy }, bodyLimit: PACKAGE_LIMIT },
      async (request, reply) => {
        const { body } = request;
        if (!(body instanceof Readable)) throw badRequest("EMPTY_BODY", "The body must be the package's bytes");
        if (Number(request.headers["content-length"] ?? 0) > PACKAGE_LIMIT) throw bodyTooLarge("64 MiB");
        if (uploads >= MOST_UPLOADS) throw unavailable("Too many packages are being uploaded at once", 2);
        uploads += 1;
        try {
          return await reply.code(201).send(await store(body, packages, tempDir));
        } finally {
          uploads -= 1;
        }
      },
    );
  });
}

async function store(
  body: Readable,
  packages: PackageDependencies["packages"],
  tempDir: string,
): Promise<{ digest: string; size: number }> {
  const folder = await mkdtemp(join(tempDir, "warren-upload-"));
  try {
    const file = join(folder, "package");
    const { digest, size } = await receive(body, file);
    if (size === 0) throw badRequest("EMPTY_BODY", "The body must be the package's bytes");
    // The name is the content: what is there already is the same.
    if (!(await packages.has(digest))) {
      const bytes = Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>;
      await packages.put(digest, bytes as Parameters<ObjectBucket["put"]>[1]);
    }
    return { digest: `sha256:${digest}`, size };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function receive(body: Readable, file: string): Promise<{ digest: string; size: number }> {
  const sha256 = createHash("sha256");
  let size = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      sha256.update(chunk);
      // Content-Length may be absent: what counts is what comes.
      done(size > PACKAGE_LIMIT ? bodyTooLarge("64 MiB") : null, chunk);
    },
  });
  await pipeline(body, measure, createWriteStream(file, { mode: 0o600, flags: "wx" }));
  return { digest: sha256.digest("hex"), size };
}
