import { writeFile } from "node:fs/promises";
import { policySchemaText } from "./schema-file.ts";

// Run after a change of the policy: node services/gateway/src/limits/write-schema.ts && npm run format
await writeFile(new URL("../../../../docs/reference/limits.schema.json", import.meta.url), policySchemaText());
