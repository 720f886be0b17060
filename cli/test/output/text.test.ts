import assert from "node:assert/strict";
import { test } from "node:test";
import { oneLine, printable, safeJson } from "../../src/output/sanitize.ts";
import { table } from "../../src/output/table.ts";
import { relativeTime } from "../../src/output/time.ts";
import { toolText } from "../../src/output/tool-result.ts";

test("control characters and marks that reorder text are written out; text, tabs and lines stay", () => {
  assert.equal(
    printable("a\tb\r\nc\u0000\u001b[0m\u007f\u0085\u202eé 漢 👍"),
    "a\tb\nc\\x00\\x1b[0m\\x7f\\x85\\u202eé 漢 👍",
  );
  assert.equal(oneLine(" a\n\tb\u0007 "), "a b\\x07");
});

test("JSON holds no raw control character and still means the same", () => {
  const value = { text: "\u0000\u001b\u007f\u009b\u2028\n" };
  const text = safeJson(value);
  assert.doesNotMatch(text, /(?!\n)[\p{Cc}\u2028]/u);
  assert.deepEqual(JSON.parse(text), value);
});

test("columns are as wide as their widest cell, and lines end at the width of the terminal", () => {
  const columns = [
    { title: "ID", cell: (row: { id: string; text: string }) => row.id },
    { title: "TEXT", cell: (row: { id: string; text: string }) => row.text },
  ];
  const rows = [
    { id: "long-id", text: "one\ntwo" },
    { id: "é", text: "" },
  ];
  assert.equal(table(rows, columns, { none: "none" }), "ID       TEXT\nlong-id  one two\né        -");
  assert.equal(table(rows, columns, { none: "none", width: 12 }), "ID       TEXT\nlong-id  on…\né        -");
  assert.equal(table([], columns, { none: "none" }), "none");
});

test("times are told in the largest whole unit", () => {
  const now = Date.UTC(2026, 0, 2);
  const at = (difference: number): string => relativeTime(new Date(now + difference), now);
  assert.equal(at(-90_000), "1 minute ago");
  assert.equal(at(5 * 60_000), "in 5 minutes");
  assert.equal(at(-3 * 86_400_000), "3 days ago");
  assert.equal(at(400), "now");
  assert.equal(relativeTime(undefined, now), "");
});

test("every kind of block of a tool's answer is told", () => {
  const result = {
    content: [
      { type: "text", text: "plain" },
      { type: "resource", resource: { uri: "file:///a", text: "inside" } },
      { type: "resource_link", uri: "file:///b" },
      { type: "audio", mimeType: "audio/wav", data: "AAAA" },
      { type: "new", x: 1 },
    ],
    structuredContent: undefined,
    isError: false,
  };
  assert.equal(
    toolText(result),
    'plain\ninside\n[resource_link file:///b]\n[audio audio/wav, 4 characters of base64]\n{\n  "type": "new",\n  "x": 1\n}',
  );
  assert.equal(toolText({ ...result, content: [], structuredContent: { a: 1 } }), '{\n  "a": 1\n}');
});
