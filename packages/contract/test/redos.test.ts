// Regular expressions of the contract against texts that make bad ones run for ever.
import assert from "node:assert/strict";
import test from "node:test";
import { getOption } from "@bufbuild/protobuf";
import type { FieldRules } from "@warren/proto/warren/options/v1/options";
import { extension, registry } from "../src/registry.ts";

const option = extension("warren.options.v1.field");
/** Where the contract names no longest text: long enough that a bad pattern would not end. */
const LONGEST = 1 << 16;
/** A pattern that is linear takes a few milliseconds for the longest text; one that is not takes days. */
const MOST_MS = 2_000;

const fields = [...registry].flatMap((type) => {
  if (type.kind !== "message") return [];
  return type.fields.flatMap((field) => {
    const rules = getOption(field, option) as unknown as FieldRules | undefined;
    return rules?.pattern ? [{ name: `${type.typeName}.${field.name}`, rules }] : [];
  });
});

test("no pattern of the contract can be made to run for long", (t) => {
  assert.ok(fields.length > 20);
  let slowest = { ms: 0, name: "" };
  const different = new Map(fields.map((each) => [`${each.rules.pattern} ${each.rules.maxLength}`, each]));
  for (const { name, rules } of different.values()) {
    const expression = new RegExp(`^(?:${rules.pattern})$`, "u");
    const length = rules.maxLength || LONGEST;
    for (const piece of [
      "a",
      "A",
      "0",
      "a-",
      "a.",
      "a_",
      "a:",
      "a:*",
      "*.",
      "-",
      ".",
      "é",
      "\u{1f600}",
      " ",
      "sha256:",
    ])
      for (const end of ["", "!", "\n", "\u0000", "-", "."]) {
        const text = piece.repeat(Math.ceil(length / piece.length)).slice(0, length - end.length) + end;
        const before = performance.now();
        expression.test(text);
        const ms = performance.now() - before;
        if (ms > slowest.ms) slowest = { ms, name };
        assert.ok(ms < MOST_MS, `${name}: ${ms} ms for ${length} characters of ${JSON.stringify(piece)}`);
      }
  }
  t.diagnostic(
    `${different.size} patterns of ${fields.length} fields; the slowest answer took ${slowest.ms.toFixed(1)} ms (${slowest.name})`,
  );
});
