// What a tool answered, for people.
import type { ToolResult } from "@warren/proto/warren/plugins/v1/plugins";
import { printable } from "./sanitize.ts";

/** The result's text blocks, and a line for each block that is no text; its structured form when there are no blocks. */
export function toolText(result: ToolResult): string {
  if (!result.content.length) return result.structuredContent ? structured(result.structuredContent) : "(no content)";
  return result.content.map(blockText).join("\n");
}

/** MCP content blocks: text, image, audio, resource, resource_link. */
function blockText(block: Readonly<Record<string, unknown>>): string {
  const { type, text, mimeType, data, uri, resource } = block;
  if (typeof text === "string") return printable(text);
  if (typeof data === "string")
    return printable(`[${str(type)} ${str(mimeType)}, ${data.length} characters of base64]`);
  if (typeof resource === "object" && resource !== null) return blockText({ type, ...resource });
  if (typeof uri === "string") return printable(`[${str(type)} ${uri}]`);
  return structured(block);
}

function structured(value: unknown): string {
  return printable(JSON.stringify(value, undefined, 2));
}

function str(value: unknown): string {
  return typeof value === "string" ? value : "content";
}
