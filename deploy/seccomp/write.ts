// Writes plugin-host.json: what a container that runs plugin hosts may ask of the kernel. Run it after a change:
// node deploy/seccomp/write.ts. A test checks that the file is what this writes.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { pluginHostProfile } from "./profile.ts";

const file = fileURLToPath(new URL("./plugin-host.json", import.meta.url));
writeFileSync(file, `${JSON.stringify(pluginHostProfile(), undefined, 2)}\n`);
