import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { VaultError } from "../../src/vault/errors.ts";
import { pageOf } from "../../src/vault/page.ts";

const names = fc.uniqueArray(fc.stringMatching(/^[A-Za-z0-9_-]{1,6}(\.[A-Za-z0-9_-]{1,4})?$/), { maxLength: 40 });

test("the pages of a list hold every name once, sorted, whatever their size", () => {
  fc.assert(
    fc.property(names, fc.integer({ min: 1, max: 12 }), (some, size) => {
      const seen: string[] = [];
      for (let token = ""; ;) {
        const page = pageOf(some, size, token);
        assert.ok(page.names.length <= size);
        seen.push(...page.names);
        token = page.nextPageToken;
        if (token === "") break;
        assert.equal(page.names.length, size);
      }
      assert.deepEqual(seen, [...some].sort());
    }),
  );
});

test("a page goes on where the last one ended although names came and went", () => {
  const { nextPageToken } = pageOf(["a", "b", "c", "d"], 2, "");
  assert.deepEqual(pageOf(["aa", "c", "d", "e"], 2, nextPageToken).names, ["c", "d"]);
});

test("a token that no list gave is refused", () => {
  for (const token of [
    "x",
    "!!",
    Buffer.from("a b").toString("base64url"),
    `${pageOf(["a", "b"], 1, "").nextPageToken}=`,
  ]) {
    assert.throws(
      () => pageOf(["a"], 1, token),
      (error) => error instanceof VaultError && error.code === "invalid_page_token",
    );
  }
});
