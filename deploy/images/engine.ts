// The container engine of this machine, and images to build on.
import { execFile, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const LOCAL_BASE = "warren-local-base:bookworm";

/** How a command ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command of the engine to its end. */
export function docker(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd: ROOT, env: { ...process.env, ...env }, maxBuffer: 64 << 20 };
    const child = execFile("docker", args, options, (error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? (error ? 1 : 0), stdout, stderr }),
    );
  });
}

/** The same, shown as it goes on. @throws Error when it fails. */
export function show(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ["ignore", 2, 2] });
    child.once("error", reject);
    child.once("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`${command} ${args[0]} ended with ${code}`)),
    );
  });
}

/** Why images cannot be built and run here; false where they can. */
export async function unavailable(): Promise<string | false> {
  if ((await docker(["info"])).code !== 0) return "no container engine answers (docker info)";
  if ((await docker(["compose", "version"])).code !== 0) return "docker has no compose plugin";
  return false;
}

/** Settings that name the base images: those of the environment, else the usual ones, else one made on this machine. */
export async function baseImages(): Promise<NodeJS.ProcessEnv> {
  if (process.env["NODE_IMAGE"]) return {};
  if ((await docker(["pull", "--quiet", "node:24-bookworm-slim"])).code === 0) return {};
  if ((await docker(["image", "inspect", LOCAL_BASE])).code !== 0) {
    process.stderr.write("No registry of images is reached: making a base image from Debian's packages\n");
    await show("bash", ["deploy/images/local-base-image.sh", LOCAL_BASE]);
  }
  return { NODE_IMAGE: LOCAL_BASE, NATS_IMAGE: LOCAL_BASE, REDIS_IMAGE: LOCAL_BASE };
}
