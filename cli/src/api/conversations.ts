// Which conversation `warren chat` goes on with: the last one, for each gateway and each caller.
import { readPrivateFile, writePrivateFile } from "./private-file.ts";
import { isRecord } from "./problem.ts";

/** The last conversation with a gateway. */
export interface Conversations {
  last(): Promise<string | undefined>;
  /** Undefined forgets it. */
  remember(sessionId: string | undefined): Promise<void>;
}

/** Keeps the last conversation of `identity` with the gateway at `url` in `file`. */
export function conversations(file: string, url: string, identity: string): Conversations {
  const key = `${url} ${identity}`;
  const all = async (): Promise<Record<string, unknown>> => {
    const text = await readPrivateFile(file);
    try {
      const value: unknown = JSON.parse(text ?? "{}");
      return isRecord(value) ? value : {};
    } catch {
      // Only a convenience is lost with it.
      return {};
    }
  };
  return {
    last: async () => {
      const id = (await all())[key];
      return typeof id === "string" ? id : undefined;
    },
    remember: async (sessionId) => {
      const known = await all();
      if (known[key] === sessionId) return;
      const { [key]: _forgotten, ...others } = known;
      await writePrivateFile(
        file,
        `${JSON.stringify(sessionId === undefined ? others : { ...others, [key]: sessionId }, undefined, 2)}\n`,
      );
    },
  };
}
