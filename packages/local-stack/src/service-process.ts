// One service of the mesh as a process of its own.
import { fileURLToPath } from "node:url";
import { type ManagedProcess, startProcess } from "./managed-process.ts";

export interface ServiceProcessOptions {
  /** The service's name: its folder under services/. */
  readonly service: string;
  readonly env: NodeJS.ProcessEnv;
  readonly onLine: (line: string) => void;
}

/** A service that says that it is ready. */
export interface RunningServiceProcess {
  readonly process: ManagedProcess;
  /** Where it listens outside the mesh, if it does. */
  readonly address: string | undefined;
  /** Where it serves gRPC, if it does. */
  readonly grpcAddress: string | undefined;
}

const READY_MS = 60_000;

/** Starts a service and waits until it is ready. */
export async function startServiceProcess({
  service,
  env,
  onLine,
}: ServiceProcessOptions): Promise<RunningServiceProcess> {
  const main = fileURLToPath(new URL(`../../../services/${service}/src/main.ts`, import.meta.url));
  const ready = Promise.withResolvers<Omit<RunningServiceProcess, "process">>();
  const running = await startProcess({
    command: process.execPath,
    args: [main],
    env,
    onLine,
    onMessage: (message) => {
      const { type, address, grpcAddress } = message as { type?: string; address?: string; grpcAddress?: string };
      if (type === "ready") ready.resolve({ address, grpcAddress });
    },
  });
  const late = setTimeout(
    () => ready.reject(new Error(`${service} was not ready within ${READY_MS / 1000} s`)),
    READY_MS,
  );
  void running.ended.then(({ code, signal }) =>
    ready.reject(
      new Error(`${service} ended before it was ready (${signal ?? `exit code ${code}`}); its lines above say why`),
    ),
  );
  try {
    return { process: running, ...(await ready.promise) };
  } catch (error) {
    running.kill("SIGKILL");
    throw error;
  } finally {
    clearTimeout(late);
  }
}
