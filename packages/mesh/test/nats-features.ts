// What the nats-server at hand can do that an older one cannot.
import type { TestContext } from "node:test";
import { natsServerVersion } from "@warren/testing";

/** Whether a stream's `republish` can be changed; skips the test where it cannot. */
export function changesRepublish(t: TestContext): boolean {
  const [major = 0, minor = 0] = (natsServerVersion() ?? "").split(".").map(Number);
  const can = major > 2 || minor >= 10;
  if (!can) t.skip("nats-server before 2.10 does not change what a stream republishes");
  return can;
}
