import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { parse } from "yaml";
import { valuesTable } from "../helm/values-table.ts";
import { CHART, type Json } from "./support/chart.ts";
import { run } from "./support/tools.ts";

test("the chart's README tells the settings as they are", async () => {
  const { code, stderr } = await run(process.execPath, [join(CHART, "write-readme.ts"), "--check"]);
  assert.equal(code, 0, stderr);
});

test("a setting that nobody describes is refused by name", () => {
  assert.throws(() => valuesTable("# -- one\na: 1\nb:\n  c: 2\n"), /b\.c has no description/);
});

test("a description belongs to what stands under it, and a value that is long is left to the file", () => {
  const table = valuesTable(`# -- a | b\na: 1\nb:\n  # -- deep\n  c: ["${"x".repeat(80)}"]\n`);
  assert.deepEqual(table.split("\n").slice(2), ["| `a` | `1` | a \\| b |", "| `b.c` | see `values.yaml` | deep |"]);
});

test("the schema is strict: no object of it takes a key that it does not name", () => {
  const open: string[] = [];
  const look = (schema: Json, path: string): void => {
    const { properties, additionalProperties } = schema as { properties?: Json; additionalProperties?: unknown };
    if (properties && additionalProperties !== false) open.push(path);
    for (const [key, inner] of Object.entries(schema))
      if (typeof inner === "object" && inner !== null && !["if", "then"].includes(key)) look(inner, `${path}/${key}`);
  };
  look(parse(readFileSync(join(CHART, "values.schema.json"), "utf8")) as Json, "");
  assert.deepEqual(open, []);
});
