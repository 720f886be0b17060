import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseTool } from "../../../src/model/offline/choose-tool.ts";
import { createLiteralReader } from "../../../src/model/offline/literals.ts";
import { isFiller, stem, words } from "../../../src/model/offline/words.ts";
import { createToolSearch } from "../../../src/tools/search.ts";
import { manyTools } from "../../helpers/many-tools.ts";

const tools = manyTools();
const search = createToolSearch(tools, { split: words, fold: (word) => (isFiller(word) ? undefined : stem(word)) });
const read = createLiteralReader();

const requests: [sentence: string, tool: string, args: Record<string, unknown>][] = [
  ["What time is it?", "get_current_time", {}],
  ["what's the time", "get_current_time", {}],
  ["What is the current time in Tokyo?", "get_current_time", { timezone: "Asia/Tokyo" }],
  ["What time is it in New York?", "get_current_time", { timezone: "America/New_York" }],
  ["Tell me the time in Europe/Berlin please.", "get_current_time", { timezone: "Europe/Berlin" }],
  ["Could you tell me what time it is now?", "get_current_time", {}],
  ["What is today's date?", "get_current_time", {}],
  ["Reverse the text 'hello'", "reverse_text", { text: "hello" }],
  ['Please reverse "stressed desserts".', "reverse_text", { text: "stressed desserts" }],
  ["Reverse hello", "reverse_text", { text: "hello" }],
  ["Can you write 'abc' backwards?", "reverse_text", { text: "abc" }],
  ["How many words are in 'a b c'?", "word_count", { text: "a b c" }],
  ['Count the words in "one two three".', "word_count", { text: "one two three" }],
  ["Echo 'hi there'", "echo", { message: "hi there" }],
  ["Echo: it's fine", "echo", { message: "it's fine" }],
  ["Use echo to say 'ping'", "echo", { message: "ping" }],
  ["What is the sum of 2 and 3?", "get-sum", { a: 2, b: 3 }],
  ["Add 20 and 22.", "get-sum", { a: 20, b: 22 }],
  ["What is 2 + 3?", "get-sum", { a: 2, b: 3 }],
  ['Call get-sum with {"a": 1, "b": -2.5}', "get-sum", { a: 1, b: -2.5 }],
  ["call get-sum with a=4 b=5", "get-sum", { a: 4, b: 5 }],
  ["Read the file /srv/docs/a.txt", "read_text_file", { path: "/srv/docs/a.txt" }],
  ["Show me the content of /srv/docs/notes.md", "read_text_file", { path: "/srv/docs/notes.md" }],
  ["Read the image /srv/docs/cat.png", "read_media_file", { path: "/srv/docs/cat.png" }],
  ["List the files in /srv/docs", "list_directory", { path: "/srv/docs" }],
  ["What files are in the directory /srv/docs?", "list_directory", { path: "/srv/docs" }],
  ["List the allowed directories", "list_allowed_directories", {}],
  ["Create a folder /srv/docs/new", "create_directory", { path: "/srv/docs/new" }],
  [
    "Write 'hello world' to the file /srv/docs/b.txt",
    "write_file",
    { path: "/srv/docs/b.txt", content: "hello world" },
  ],
  [
    "Move /srv/docs/a.txt to /srv/docs/c.txt",
    "move_file",
    { source: "/srv/docs/a.txt", destination: "/srv/docs/c.txt" },
  ],
  ["Fetch https://example.org/page.", "fetch_url", { url: "https://example.org/page" }],
  ["Translate 'good morning' into French", "translate", { text: "good morning", language: "French" }],
  ["Set the volume to 30", "set_volume", { level: 30 }],
  ["Get an annotated message of type error", "get-annotated-message", { messageType: "error" }],
  ["Use get-structured-content for Chicago", "get-structured-content", { location: "Chicago" }],
  ["Send me the tiny image", "get-tiny-image", {}],
];

for (const [sentence, name, args] of requests) {
  test(`among forty tools, "${sentence}" calls ${name}`, () => {
    const choice = chooseTool(sentence, read(sentence), tools, search);
    assert.equal(choice?.tool.name, name);
    assert.deepEqual(choice?.missing, []);
    assert.deepEqual(choice?.arguments, args);
  });
}

const talk = [
  "Hello!",
  "Hi there",
  "My name is Alice.",
  "What's my name?",
  "I live in New York.",
  "I like echo chambers.",
  "I had a great time yesterday.",
  "Long time no see",
  "Time flies",
  "Time flies when you are having fun.",
  "Thanks a lot!",
  "How are you today?",
  "Who are you?",
  "Tell me a joke.",
  "What is the weather in Paris?",
  "What is the capital of France?",
  "What do you think about love?",
  "I read a lot of files at work.",
  "The sum of my knowledge is small.",
  "Why is the sky blue?",
  "Write a poem about the sea.",
];

for (const sentence of talk) {
  test(`"${sentence}" calls no tool`, () => {
    assert.equal(chooseTool(sentence, read(sentence), tools, search)?.tool.name, undefined);
  });
}

test("a clear request without its arguments names what is missing", () => {
  const choice = chooseTool("Reverse the text", read("Reverse the text"), tools, search);
  assert.equal(choice?.tool.name, "reverse_text");
  assert.deepEqual(choice?.missing, ["text"]);
});
