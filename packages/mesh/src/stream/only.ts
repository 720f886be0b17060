// The one answer of a method that streams its requests alone.
import { RpcError, StatusCode } from "../status.ts";

/**
 * The only message of a stream.
 * @throws RpcError INTERNAL when there is none, or more than one.
 */
export async function only<T>(answers: AsyncIterable<T>, method: string): Promise<T> {
  const found: T[] = [];
  for await (const answer of answers) {
    found.push(answer);
    if (found.length > 1) break;
  }
  const [answer] = found;
  if (answer === undefined || found.length > 1)
    throw new RpcError(StatusCode.INTERNAL, `${method} did not answer once, as its contract says`);
  return answer;
}
