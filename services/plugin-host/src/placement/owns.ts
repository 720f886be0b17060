// Which hosts run a plugin. Every host decides for itself from what all hosts see: there is no leader.
import type { PluginRecord } from "@warren/proto/warren/plugins/v1/plugins";
import type { Member } from "./members.ts";

/** Whether the host `self` is to run a plugin. In this version every host runs every plugin. */
export function owns(_record: PluginRecord, _members: readonly Member[], _self: string): boolean {
  return true;
}
