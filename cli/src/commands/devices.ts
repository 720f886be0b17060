import { ListDevicesResponse } from "@warren/proto/warren/auth/v1/auth";
import type { Command } from "commander";
import { answer, connect, type Context, type GlobalOptions } from "../context.ts";
import { interrupted } from "../errors.ts";
import { askYesNo } from "../output/ask.ts";
import { table } from "../output/table.ts";
import { relativeTime } from "../output/time.ts";

interface RevokeOptions extends GlobalOptions {
  readonly yes?: boolean;
}

/** `warren devices`: who may talk to the mesh. */
export function registerDevices(program: Command, context: Context): void {
  const devices = program.command("devices").description("list the paired devices, or revoke one");
  devices
    .command("list", { isDefault: true })
    .description("list the paired devices: all of them for an operator, else your own")
    .action(async (_options: GlobalOptions, command: Command) => list(context, command.optsWithGlobals()));
  devices
    .command("revoke")
    .description("revoke a device: its tokens stop working at once")
    .argument("<id>", "the device's id, as the list shows it")
    .option("-y, --yes", "do not ask")
    .action(async (id: string, _options: RevokeOptions, command: Command) =>
      revoke(context, id, command.optsWithGlobals()),
    );
}

async function list(context: Context, options: GlobalOptions): Promise<void> {
  const { terminal } = context;
  const json = await (await connect(context, options)).list("/v1/devices", "devices");
  const { devices } = ListDevicesResponse.fromJSON(json);
  answer(context, options, json, () =>
    table(
      devices,
      [
        { title: "ID", cell: (device) => device.id },
        { title: "NAME", cell: (device) => device.name },
        { title: "PAIRED", cell: (device) => relativeTime(device.createTime) },
        { title: "SEEN", cell: (device) => relativeTime(device.lastSeenTime) },
        { title: "STATE", cell: (device) => (device.revokeTime ? "revoked" : "active") },
        { title: "SCOPES", cell: (device) => device.scopes.join(" ") },
      ],
      {
        none: 'No device is paired. Pair this one with "warren pair".',
        width: terminal.stdout.columns,
        heading: (text) => terminal.paint("bold", text),
      },
    ),
  );
}

async function revoke(context: Context, id: string, options: RevokeOptions): Promise<void> {
  const client = await connect(context, options);
  if (context.terminal.interactive && !options.yes && !options.json)
    if (!(await askYesNo(context.terminal, `Revoke ${id}? It has to be paired again to come back.`)))
      throw interrupted();
  await client.json({ method: "DELETE", path: `/v1/devices/${encodeURIComponent(id)}` });
  answer(context, options, { id, revoked: true }, () => `Revoked ${id}.`);
}
