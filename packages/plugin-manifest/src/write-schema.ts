import { writeFile } from "node:fs/promises";
import { manifestSchemaText } from "./schema-file.ts";

// Run after a change of the manifest: node packages/plugin-manifest/src/write-schema.ts && npm run format
await writeFile(new URL("../../../docs/reference/plugin.schema.json", import.meta.url), manifestSchemaText());
