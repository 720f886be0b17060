// Writes plugin-host.json: what a container that runs plugin hosts may ask of the kernel; once for container engines and once
// into the chart, which can read no file outside of its folder. A test checks that both are what this writes.
// Usage: node deploy/seccomp/write.ts
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { pluginHostProfile } from "./profile.ts";

for (const path of ["./plugin-host.json", "../helm/files/plugin-host.json"])
  writeFileSync(
    fileURLToPath(new URL(path, import.meta.url)),
    `${JSON.stringify(pluginHostProfile(), undefined, 2)}\n`,
  );
