// A process that is one side of one subject: CPU and memory of client and server are told apart by being apart.
import { writeFileSync } from "node:fs";
import type { HeapProfiler } from "node:inspector";
import { Session } from "node:inspector/promises";
import { run } from "./load.ts";
import { type CallingSide, HOLD_PREFIX, type ServingSide } from "./subject.ts";
import { loadSubject } from "./subjects.ts";
import type { Answer, OperationName, Operations, Question } from "./worker-protocol.ts";

type Work = { [N in OperationName]: (argument: Operations[N]["takes"]) => Promise<Operations[N]["gives"]> };

/** Bytes between two samples of the heap, on average: fine enough for a thousand calls, cheap enough to measure under load. */
const SAMPLING_INTERVAL = 8192;

function createWork(): Work {
  let server: ServingSide | undefined;
  let client: CallingSide | undefined;
  const session = new Session();
  session.connect();
  const calling = (): CallingSide => {
    if (!client) throw new Error("This worker is not a client");
    return client;
  };
  return {
    start: async ({ subject, role, target }) => {
      const loaded = await loadSubject(subject);
      if (role === "client") client = await loaded.connect(target);
      else server = await loaded.serve(target);
      return server?.address;
    },
    run: ({ workload, durationMs }) => run(calling(), workload, durationMs),
    cpu: () => {
      const { user, system } = process.cpuUsage();
      return Promise.resolve(user + system);
    },
    startAllocations: async () => {
      await session.post("HeapProfiler.startSampling", {
        samplingInterval: SAMPLING_INTERVAL,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true,
      });
      return undefined;
    },
    stopAllocations: async () => {
      const { profile } = await session.post("HeapProfiler.stopSampling");
      return allocated(profile.head);
    },
    startProfile: async () => {
      await session.post("Profiler.enable");
      await session.post("Profiler.start");
      return undefined;
    },
    stopProfile: async (file) => {
      const { profile } = await session.post("Profiler.stop");
      writeFileSync(file, JSON.stringify(profile));
      return undefined;
    },
    holdCalls: async ({ calls, holdMs }) => {
      const before = heap();
      const held = Array.from({ length: calls }, (_, i) => calling().echo(`${HOLD_PREFIX}${holdMs}`, i % 64));
      // Requests are written and forgotten by then, answers have not come.
      await new Promise((resolve) => setTimeout(resolve, holdMs / 2));
      const during = heap();
      await Promise.all(held);
      return (during - before) / calls;
    },
    stop: async () => {
      await client?.close();
      await server?.close();
      session.disconnect();
      setImmediate(() => process.exit(0));
      return undefined;
    },
  };
}

/** Bytes that a node of a sampling profile and those below it stand for. */
function allocated({ selfSize, children }: HeapProfiler.SamplingHeapProfileNode): number {
  return children.reduce((sum, child) => sum + allocated(child), selfSize);
}

/** Bytes of objects that are alive, on the heap and in buffers. */
function heap(): number {
  if (!globalThis.gc) throw new Error("Start workers with --expose-gc");
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const work = createWork();

async function answer({ id, name, argument }: Question): Promise<Answer> {
  try {
    const perform = work[name] as (argument: unknown) => Promise<unknown>;
    return { id, result: await perform(argument) };
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

process.on("message", (question: Question) => void answer(question).then((answer) => process.send?.(answer)));
// The suite is gone, however it went.
process.on("disconnect", () => process.exit(1));
