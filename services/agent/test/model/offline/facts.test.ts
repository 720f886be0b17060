import assert from "node:assert/strict";
import { test } from "node:test";
import { acknowledge, collectFacts, recall } from "../../../src/model/offline/facts.ts";

const remembered: [said: string[], question: string, answer: RegExp][] = [
  [["My name is Alice."], "What's my name?", /Your name is Alice\./],
  [["my name is alice"], "what is my name", /alice/],
  [["I'm Alice!"], "Who am I?", /Alice/],
  [["Hello, I am Alice Smith, and I like tea."], "Do you remember my name?", /Alice Smith/],
  [["Call me Ishmael."], "What’s my name?", /Ishmael/],
  [["My name is Alice.", "Sorry, my name is Bob."], "What is my name?", /Your name is Bob\./],
  [["I live in New York."], "Where do I live?", /You live in New York\./],
  [["My name is Alice and I live in Paris."], "Where do I live?", /Paris/],
  [["My name is Alice and I live in Paris."], "What is my name?", /Your name is Alice\./],
  [["I like tea.", "I love jazz"], "What do I like?", /tea and jazz/],
  [["My favourite colour is dark green."], "What's my favorite color?", /dark green/],
  [["I work as a gardener."], "Where do I work?", /as a gardener/],
  [["I'm from Peru."], "Where am I from?", /Peru/],
  [["My dog's name is Rex."], "What is my dog's name?", /Rex/],
  [["Remember that the key is under the mat."], "What did I tell you?", /the key is under the mat/],
  [["My name is Alice.", "I live in Paris."], "What do you know about me?", /Alice.*Paris/],
];
for (const [said, question, answer] of remembered) {
  test(`after "${said.join(" ")}", "${question}" is answered`, () =>
    assert.match(recall(question, collectFacts(said)) ?? "", answer));
}

test("what was never said is not made up", () => {
  assert.equal(
    recall("What's my name?", collectFacts(["Hello!", "I'm tired."])),
    "You have not told me your name yet.",
  );
  assert.equal(recall("Where do I live?", collectFacts([])), "You have not told me where you live yet.");
});

test("a question states nothing", () => {
  assert.equal(collectFacts(["What is my name?", "Is my name Bob?"]).size, 0);
});

test("other questions are not recalled", () => {
  for (const question of ["What time is it?", "What is your name?", "Hello!", "What is my-file.txt about?"]) {
    assert.equal(recall(question, collectFacts([])), undefined, question);
  }
});

test("a fact is acknowledged with the fact", () => {
  assert.match(acknowledge("My name is Alice.") ?? "", /Alice/);
  assert.match(acknowledge("I live in Rome.") ?? "", /Rome/);
  assert.equal(acknowledge("Nice weather."), undefined);
});
