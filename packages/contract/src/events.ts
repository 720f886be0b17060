// Events with what their options say.
import { getOption } from "@bufbuild/protobuf";
import type { EventOptions } from "@warren/proto/warren/options/v1/options";
import { extension, registry } from "./registry.ts";

const eventOption = extension("warren.options.v1.event");

/**
 * The options of an event message: its name, and whether it is kept in the audit stream.
 * @throws Error when the message is no event.
 */
export function eventContract(typeName: string): Readonly<EventOptions> {
  const descriptor = registry.getMessage(typeName);
  const options = descriptor && (getOption(descriptor, eventOption) as unknown as EventOptions);
  if (!options?.name) throw new Error(`${typeName} is no event: set (warren.options.v1.event).name in its contract`);
  return options;
}
