// Loaded into a service before it starts (`node --import`): its wall clock is off by as many milliseconds as a file says.
// A library like libfaketime would do the same from outside; this needs nothing installed and moves while a process runs.
// The monotonic clock, on which deadlines stand, does not move: no administrator can turn it.
import { readFileSync } from "node:fs";

const POLL_MS = 25;
const file = process.env["CHAOS_CLOCK_FILE"] ?? "";
const now = Date.now.bind(Date);
let offset = 0;

function look(): void {
  try {
    offset = Number(readFileSync(file, "utf8")) || 0;
  } catch {
    // Nobody has moved it yet.
  }
}

look();
setInterval(look, POLL_MS).unref();
Date.now = () => now() + offset;
globalThis.Date = new Proxy(Date, {
  construct: (target, args: unknown[], newTarget) =>
    Reflect.construct(target, args.length === 0 ? [now() + offset] : args, newTarget) as object,
  apply: () => new Date().toString(),
});
