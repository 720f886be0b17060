import assert from "node:assert/strict";
import { RpcError, statusName } from "@warren/mesh";

/** A check of a rejection: an RpcError of this code, whose message matches. */
export function fails(code: number, pattern: RegExp, reason?: string) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof RpcError, String(error));
    assert.equal(statusName(error.code), statusName(code), error.message);
    assert.match(error.message, pattern);
    if (reason) assert.equal(error.details.reason, reason);
    return true;
  };
}
