// A process that is one side of one subject. It tells its parent where it listens, and ends with it.
import { writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import type { Target } from "./subject.ts";
import { subjects } from "./subjects.ts";

export interface Start {
  readonly subject: string;
  readonly role: "front" | "back";
  readonly target: Target;
}

const session = new Session();

process.on("message", (message: Start | { readonly profile: "start" } | { readonly profile: string }) => {
  void ("profile" in message ? profile(message.profile) : start(message)).then(
    (address) => process.send?.({ address: address ?? "" }),
    (error: unknown) =>
      process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));

async function start({ subject, role, target }: Start): Promise<string | undefined> {
  const side = (await subjects[subject]?.())?.[role];
  if (!side) throw new Error(`There is no ${role} of ${subject}`);
  return side(target);
}

/** `start`, or the file into which the profile goes. */
async function profile(what: string): Promise<undefined> {
  if (what === "start") {
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.start");
  } else writeFileSync(what, JSON.stringify((await session.post("Profiler.stop")).profile));
  return undefined;
}
