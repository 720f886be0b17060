// One request to every replica, and the answers of all of them.
import type { KnownContracts } from "./contracts.ts";
import { now } from "./deadline.ts";
import { isNoResponders } from "./inbox.ts";
import type { OutgoingRequest, Requests } from "./requests.ts";
import type { RpcError } from "./status.ts";

/** How long to wait for one more answer after the last, in milliseconds. */
const STALL_MS = 150;

/**
 * Asks every replica; their answers, in the order they came.
 * @throws RpcError of one replica when all that answered failed.
 */
export async function gather(
  requests: Requests,
  contracts: KnownContracts,
  call: OutgoingRequest,
): Promise<Uint8Array[]> {
  const { method } = call;
  let { answers, failures } = await askAll(requests, call);
  let learned = failures.map((failure) => contracts.learn(method, failure));
  if (learned.includes(true)) {
    // Replicas of another version that is as good: all are asked again, and now all answer.
    ({ answers, failures } = await askAll(requests, call));
    learned = failures.map((failure) => contracts.learn(method, failure));
  }
  const failure = learned.find((each) => each !== true);
  if (!answers.length && failure) throw failure;
  return answers;
}

/** Asks every replica once, until none has answered for a while. */
async function askAll(
  requests: Requests,
  call: OutgoingRequest,
): Promise<{ answers: Uint8Array[]; failures: RpcError[] }> {
  const { method, deadline, target } = call;
  const { inbox, wheel } = requests;
  const answers: Uint8Array[] = [];
  const failures: RpcError[] = [];
  await new Promise<void>((resolve, reject) => {
    const route = inbox.open((message) => {
      if (isNoResponders(message)) return end();
      stall.clear();
      stall = wheel.at(Math.min(deadline, now() + STALL_MS), end);
      // One replica's failure does not spoil what the others know.
      const error = requests.errorOf(message, method);
      if (error) failures.push(error);
      else answers.push(message.data);
    });
    const end = (): void => {
      route.close();
      stall.clear();
      resolve();
    };
    let stall = wheel.at(Math.min(deadline, now() + 2 * STALL_MS), end);
    try {
      requests.send(call, target.subject, 1, route.subject);
    } catch (error) {
      // Before the end, which would make of a question that was never asked one that nobody answered.
      reject(error as RpcError);
      end();
    }
  });
  return { answers, failures };
}
