import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { jsonErrorOffset } from "../../src/edge/json-position.ts";

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test("a text that ends too early is wrong at its end", () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), (json, cut) => {
      const text = json.slice(0, cut % (json.length + 1));
      if (!isJson(text)) assert.ok(jsonErrorOffset(text) <= text.length);
      // Numbers and literals may be broken inside; brackets and strings are wrong only where they stop.
      if (!isJson(text) && /[[{":,]$/.test(text)) assert.equal(jsonErrorOffset(text), text.length);
    }),
  );
});

test("the place that is told is inside the text exactly when the text cannot be continued", () => {
  // Characters at random, most of them structure: the engine is the judge of what is JSON.
  const pieces = fc.constantFrom(
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    '"a"',
    '"',
    "1",
    "-",
    "true",
    "null",
    " ",
    "\n",
    "\\",
    "x",
    "\u0001",
    "é",
    "😀",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
      const text = parts.join("");
      const offset = jsonErrorOffset(text);
      if (isJson(text)) assert.equal(offset, text.length);
      else if (offset < text.length) {
        // Nothing that is put in the place of the rest makes the text up to there and one character more JSON.
        const head = text.slice(0, offset + 1);
        for (const tail of ["", '"', '""', "0", "}", "]", ":0}", '":0}', "rue", "ull", '"]', "1]", "1}"]) {
          if (!isJson(head + tail)) continue;
          assert.match(head, /["\-tfn\\\d]$/, `${JSON.stringify(text)} at ${offset}`);
        }
      }
    }),
    { numRuns: 2000 },
  );
});

test("places are those that a person would name", () => {
  const table: [text: string, offset: number][] = [
    ["", 0],
    ["{", 1],
    ["{x", 1],
    ['{"a" 1}', 5],
    ['{"a":}', 5],
    ['{"a":1,}', 7],
    ["[1,]", 3],
    ["[1 2]", 3],
    ["{}{}", 2],
    ["nul", 0],
    ["01", 1],
    ['{"a":"b\n"}', 7],
    ['{"a":"\\x"}', 6],
    ["]", 0],
  ];
  for (const [text, offset] of table) assert.equal(jsonErrorOffset(text), offset, JSON.stringify(text));
});
