// The descriptors of every contract, as the code generator wrote them: one immutable value, read once.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createFileRegistry, type DescExtension, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const image = readFileSync(fileURLToPath(import.meta.resolve("@warren/proto/descriptors")));

/** Descriptors of every message, service, method and option in `proto/`. */
export const registry: FileRegistry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));

/** An option that `proto/` defines or imports, by its full name. */
export function extension(name: string): DescExtension {
  const found = registry.getExtension(name);
  if (found === undefined) throw new Error(`The contracts define no option ${name}: run "npm run proto"`);
  return found;
}
