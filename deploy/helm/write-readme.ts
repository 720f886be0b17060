// Writes the table of settings into README.md: npm run chart:readme. With --check it only says whether it is as it should be.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { valuesTable } from "./values-table.ts";

const [BEGIN, END] = ["<!-- settings: written by npm run chart:readme -->", "<!-- end of settings -->"];
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

const before = readFileSync(file("README.md"), "utf8");
const [head, rest = ""] = before.split(BEGIN);
const tail = rest.split(END)[1];
if (head === undefined || tail === undefined) throw new Error(`README.md must hold ${BEGIN} and ${END}`);
const after = `${head}${BEGIN}\n\n${valuesTable(readFileSync(file("values.yaml"), "utf8"))}\n\n${END}${tail}`;
/** The formatter pads the cells of tables. */
const plain = (text: string): string => text.replaceAll(/ +\|/g, " |").replaceAll(/\| -+ /g, "| --- ");
if (plain(before) !== plain(after)) {
  if (process.argv.includes("--check")) {
    process.stderr.write("deploy/helm/README.md is not what values.yaml says: run npm run chart:readme\n");
    process.exitCode = 1;
  } else writeFileSync(file("README.md"), after);
}
