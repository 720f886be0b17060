import { readFile } from "node:fs/promises";
import { unpackInto } from "../src/index.ts";

// A process of its own for package.test.ts: unpacks argv[2] with digest argv[3] into store argv[4].
const [archive = "", digest = "", store = ""] = process.argv.slice(2);
const { folder } = await unpackInto(await readFile(archive), digest, store);
process.stdout.write(folder);
