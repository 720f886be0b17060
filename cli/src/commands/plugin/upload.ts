import type { Client } from "../../api/client.ts";
import { CliError, ExitCode } from "../../errors.ts";
import { oneLine } from "../../output/sanitize.ts";
import type { PackedPlugin } from "../../parts.ts";

/** Stores a package in the mesh. @throws CliError when something else arrived than was sent. */
export async function upload(client: Client, plugin: PackedPlugin): Promise<void> {
  const stored = await client.json({ method: "POST", path: "/v1/packages", body: plugin.bytes, timeout: 120_000 });
  if (stored["digest"] === plugin.digest) return;
  throw new CliError(
    ExitCode.failure,
    `the package changed on its way: ${plugin.digest} was sent, ${oneLine(String(stored["digest"]))} arrived`,
    "try again",
  );
}
