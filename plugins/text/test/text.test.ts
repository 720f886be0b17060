import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/client";
import { getDefaultEnvironment, StdioClientTransport } from "@modelcontextprotocol/client/stdio";

type Call = (
  name: string,
  args: Record<string, unknown>,
) => Promise<{ text: string; structured: unknown; failed: boolean }>;

async function connect(t: TestContext): Promise<{ client: Client; call: Call }> {
  const client = new Client({ name: "test", version: "1.0.0" });
  t.after(() => client.close());
  const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));
  const env = { ...getDefaultEnvironment(), PYTHONPATH: pathOf("../../../sdk/python") };
  const args = ["-B", pathOf("../main.py")];
  await client.connect(new StdioClientTransport({ command: "python3", args, env, stderr: "ignore" }));
  const call: Call = async (name, args) => {
    const { content, structuredContent, isError } = await client.callTool({ name, arguments: args });
    const [block] = content;
    return { text: block?.type === "text" ? block.text : "", structured: structuredContent, failed: isError === true };
  };
  return { client, call };
}

test("the official MCP client lists four tools, each with a title and a strict schema", async (t) => {
  const { client } = await connect(t);
  const { tools } = await client.listTools();
  assert.deepEqual(
    tools.map(({ name }) => name),
    ["word_count", "reverse_text", "change_case", "slugify"],
  );
  for (const { title, inputSchema } of tools) {
    assert.ok(title);
    assert.deepEqual(inputSchema.required?.includes("text"), true);
    assert.equal(inputSchema["additionalProperties"], false);
  }
});

test("counts words, characters, lines and sentences", async (t) => {
  const { call } = await connect(t);
  const cases: [string, number[]][] = [
    ["", [0, 0, 0, 0, 0]],
    ["Hello, world!", [2, 13, 12, 1, 1]],
    ["It's a well-known fact. Really?\nYes", [6, 35, 30, 2, 2]],
    ["Größe e\u0301te\u0301", [2, 9, 8, 1, 1]],
    ["हिन्दी में", [2, 5, 4, 1, 1]],
    ["👩‍👩‍👧 ok", [1, 4, 3, 1, 1]],
  ];
  for (const [text, [words, characters, charactersWithoutSpaces, lines, sentences]] of cases) {
    const { structured } = await call("word_count", { text });
    assert.deepEqual(structured, { words, characters, charactersWithoutSpaces, lines, sentences }, text);
  }
});

test("reverses by characters, words and lines", async (t) => {
  const { call } = await connect(t);
  assert.equal((await call("reverse_text", { text: "abc" })).text, "cba");
  assert.equal((await call("reverse_text", { text: "ne\u0301e 👍🏽!" })).text, "!👍🏽 ee\u0301n");
  assert.equal((await call("reverse_text", { text: "one  two three", by: "words" })).text, "three two  one");
  assert.equal((await call("reverse_text", { text: "a\nb\nc", by: "lines" })).text, "c\nb\na");
});

test("changes case, also of names in another case", async (t) => {
  const { call } = await connect(t);
  const cases: [string, string, string][] = [
    ["Hello World", "upper", "HELLO WORLD"],
    ["Hello World", "lower", "hello world"],
    ["it's über-cool", "title", "It's Über-cool"],
    ["HELLO there. HOW are you?", "sentence", "Hello there. How are you?"],
    ["hello big world", "camel", "helloBigWorld"],
    ["helloWorld HTTPServer2", "snake", "hello_world_http_server_2"],
    ["Hello_World again", "kebab", "hello-world-again"],
    ["", "camel", ""],
  ];
  for (const [text, style, expected] of cases) {
    assert.equal((await call("change_case", { text, case: style })).text, expected);
  }
});

test("makes slugs that stay within their length", async (t) => {
  const { call } = await connect(t);
  const cases: [Record<string, unknown>, string][] = [
    [{ text: "  Crème Brûlée, it's über & more! " }, "creme-brulee-its-uber-more"],
    [{ text: "Große Straße", separator: "_" }, "grosse_strasse"],
    [{ text: "one two three", maxLength: 8 }, "one-two"],
    [{ text: "incomprehensible", maxLength: 4 }, "inco"],
  ];
  for (const [args, expected] of cases) assert.equal((await call("slugify", args)).text, expected);
});

test("says what is wrong with an argument", async (t) => {
  const { call } = await connect(t);
  const cases: [string, Record<string, unknown>, RegExp][] = [
    ["word_count", {}, /text is required/],
    ["word_count", { text: 3 }, /text must be a string/],
    ["reverse_text", { text: "a", by: "letters" }, /by must be one of "characters", "words", "lines"/],
    ["change_case", { text: "a", case: "loud" }, /case must be one of "upper"/],
    ["slugify", { text: "你好" }, /no letter or digit/],
    ["slugify", { text: "a", maxLength: 0 }, /maxLength must be at least 1/],
    ["slugify", { text: "a", max: 1 }, /max is not known; there is text, separator, maxLength/],
  ];
  for (const [name, args, message] of cases) {
    const { text, failed } = await call(name, args);
    assert.equal(failed, true);
    assert.match(text, message);
  }
});
