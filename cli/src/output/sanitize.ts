// What plugins, models and remote machines say must not drive the reader's terminal.

// C0 and C1 controls but for tab and line feed, and the marks that reorder text (Unicode TR36, "bidirectional spoofing").
const unsafe = /(?![\t\n])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** The text with control characters written out (`\x1b`), so that a terminal shows them instead of obeying them. */
export function printable(text: string): string {
  return text.replaceAll("\r\n", "\n").replace(unsafe, escapeCode);
}

/** The same on one line: line breaks and tabs become single spaces. */
export function oneLine(text: string): string {
  return printable(text).replace(/\s+/g, " ").trim();
}

/** JSON in which no control character is left raw: `JSON.stringify` leaves U+007F to U+009F as they are. */
export function safeJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2).replace(/(?!\n)[\p{Cc}\u2028\u2029]/gu, unicodeEscape);
}

function escapeCode(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : unicodeEscape(character);
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
