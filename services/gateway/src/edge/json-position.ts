// Where a text stops being JSON (RFC 8259). Run only on texts that JSON.parse has refused; linear in their length.

const SPACE = /[ \t\n\r]*/y;
// Everything from U+0020 but the quote and the backslash may stand as it is; what is below must be escaped.
const STRING = /"(?:[ !#-[\]-\u{10ffff}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/uy;
const LITERAL = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** What may come next. */
type Expected = "value" | "value or ]" | "key" | "key or }" | "colon" | "comma" | "end";

/** The offset of the first character that cannot be there, or the text's length where it ends too early. */
export function jsonErrorOffset(text: string): number {
  const open: ("[" | "{")[] = [];
  let at = 0;
  let expected: Expected = "value";
  const match = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const afterValue = (): Expected => (open.length ? "comma" : "end");
  for (;;) {
    match(SPACE);
    const next = text[at];
    if (next === undefined || expected === "end") return at;
    if (expected === "colon") {
      if (next !== ":") return at;
      at += 1;
      expected = "value";
    } else if (expected === "comma") {
      const inside = open.at(-1);
      if (next === ",") expected = inside === "{" ? "key" : "value";
      else if (next === (inside === "{" ? "}" : "]")) {
        open.pop();
        expected = afterValue();
      } else return at;
      at += 1;
    } else if ((expected === "key or }" && next === "}") || (expected === "value or ]" && next === "]")) {
      open.pop();
      at += 1;
      expected = afterValue();
    } else if (next === '"') {
      match(STRING);
      if (text[at] !== '"') return at;
      at += 1;
      expected = expected.startsWith("key") ? "colon" : afterValue();
    } else if (expected.startsWith("key")) return at;
    else if (next === "[" || next === "{") {
      open.push(next);
      at += 1;
      expected = next === "[" ? "value or ]" : "key or }";
    } else if (match(LITERAL)) expected = afterValue();
    else return at;
  }
}
