import assert from "node:assert/strict";
import test from "node:test";
import { type Caller, holdsScope, RpcError, StatusCode } from "@warren/mesh";
import { createCredentials } from "@warren/mesh/policy";
import * as fc from "fast-check";
import { CallerSigner, CallerVerifier } from "../src/caller.ts";
import { user } from "./support.ts";

fc.configureGlobal({ seed: 20_260_101 });

const credentials = createCredentials();
const stranger = createCredentials();

function signer(service: keyof typeof credentials, from = credentials): CallerSigner {
  const own = from[service];
  assert.ok(own);
  return new CallerSigner(own.service, own.seed);
}

function verifier(): CallerVerifier {
  const trusted = credentials["secrets"]?.trusted;
  assert.ok(trusted);
  return new CallerVerifier(trusted);
}

/** Whether an assertion is refused as every bad one is: by UNAUTHENTICATED. */
function refused(by: CallerVerifier, assertion: string | undefined): boolean {
  try {
    by.verify(assertion);
    return false;
  } catch (error) {
    assert.ok(error instanceof RpcError, String(error));
    assert.equal(error.code, StatusCode.UNAUTHENTICATED);
    return true;
  }
}

test("what the gateway says of a user is believed by every service, and comes back as it was said", () => {
  const caller = fc.record(
    {
      principal: fc.oneof(
        fc.constant("operator"),
        fc.string({ unit: "grapheme" }).map((id) => `device:${id}`),
      ),
      tenant: fc.string({ unit: "grapheme" }),
      device: fc.string(),
      address: fc.ipV6(),
      scopes: fc.array(fc.string()),
      expiresAt: fc.integer({ min: Date.now() + 60_000, max: 2 ** 50 }),
    },
    { requiredKeys: ["principal", "tenant", "scopes", "expiresAt"], noNullPrototype: true },
  );
  fc.assert(
    fc.property(caller, (claims) => {
      const assertion = signer("gateway").assert(claims as Caller);
      assert.deepEqual(verifier().verify(assertion), claims);
    }),
    { numRuns: 50 },
  );
});

test("a change of any character is noticed", () => {
  const assertion = signer("gateway").assert(user(["chat"]));
  const by = verifier();
  for (let at = 0; at < assertion.length; at++)
    for (const other of ["A", "z", "_", ".", "=", "*", " ", "\u0000", ""]) {
      if (assertion[at] === other) continue;
      const changed = assertion.slice(0, at) + other + assertion.slice(at + 1);
      assert.ok(refused(by, changed), `character ${at} as ${JSON.stringify(other)} was not noticed`);
    }
  assert.equal(by.verify(assertion).principal, "device:d1");
});

test("there is one form of an assertion: nothing can be added to it", () => {
  const assertion = signer("gateway").assert(user(["chat"]));
  const by = verifier();
  for (const changed of [
    `${assertion}=`,
    `${assertion}\n`,
    ` ${assertion}`,
    `${assertion}.`,
    `.${assertion}`,
    `${assertion}!`,
  ])
    assert.ok(refused(by, changed), JSON.stringify(changed));
});

test("any text that nobody signed is refused, and nothing else happens", () => {
  const by = verifier();
  const part = fc.oneof(
    fc.base64String(),
    fc.string(),
    fc.json().map((text) => Buffer.from(text).toString("base64url")),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        part,
        fc.tuple(part, part).map((parts) => parts.join(".")),
      ),
      (text) => refused(by, text),
    ),
  );
  assert.ok(refused(by, undefined));
  assert.ok(refused(by, ""));
});

test("claims that are not of the form are refused, also when they are well signed", () => {
  const gateway = signer("gateway");
  for (const change of [
    { tenant: 1 },
    { scopes: "*" },
    { expiresAt: "never" },
    { expiresAt: null },
    { principal: null },
  ])
    assert.ok(
      refused(verifier(), gateway.assert({ ...user([]), ...change } as unknown as Caller)),
      JSON.stringify(change),
    );
});

test("an expired assertion is refused, also one that was verified before", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_800_000_000_000 });
  const expiresAt = Date.now() + 1000;
  const assertion = signer("gateway").assert(user(["chat"], { expiresAt }));
  const by = verifier();
  assert.equal(by.verify(assertion).principal, "device:d1");
  // Clocks of machines may differ by half a minute.
  t.mock.timers.setTime(expiresAt + 30_000);
  assert.equal(refused(by, assertion), false);
  t.mock.timers.setTime(expiresAt + 30_001);
  assert.ok(refused(by, assertion));
  assert.ok(refused(verifier(), assertion));
});

test("keys of another mesh, and names that no mesh has, sign nothing", () => {
  assert.ok(refused(verifier(), signer("gateway", stranger).assert(user(["*"]))));
  const seed = credentials["gateway"]?.seed;
  assert.ok(seed);
  for (const name of ["nobody", "__proto__", "constructor", "auth"])
    assert.ok(refused(verifier(), new CallerSigner(name, seed).assert(user(["*"]))), name);
});

test("only the gateway speaks for users, every service for itself, and none for another service", () => {
  for (const name of Object.keys(credentials)) {
    const own = signer(name);
    assert.equal(refused(verifier(), own.assert(user(["chat"]))), name !== "gateway", name);
    assert.equal(verifier().verify(own.self()).principal, `service:${name}`);
    for (const other of Object.keys(credentials))
      if (other !== name)
        assert.ok(refused(verifier(), own.assert(user(["*"], { principal: `service:${other}` }))), other);
  }
});

test("a service's own assertion is made anew before it ends, not for each call", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_800_000_000_000 });
  const own = signer("agent");
  const first = own.self();
  assert.equal(own.self(), first);
  t.mock.timers.tick(200_000);
  const second = own.self();
  assert.notEqual(second, first);
  assert.ok(verifier().verify(second).expiresAt > Date.now() + 200_000);
});

test("a verified caller is remembered and cannot be changed by whoever gets it", () => {
  const by = verifier();
  const assertion = signer("gateway").assert(user(["chat"]));
  const caller = by.verify(assertion);
  assert.equal(by.verify(assertion), caller);
  assert.throws(() => (caller.scopes as string[]).push("*"), TypeError);
  assert.throws(() => Object.assign(caller, { principal: "operator" }), TypeError);
});

test("what is remembered is bounded", () => {
  const by = verifier();
  const gateway = signer("gateway");
  const first = gateway.assert(user(["0"]));
  const known = by.verify(first);
  for (let i = 1; i <= 20_000; i++) by.verify(gateway.assert(user([`${i}`])));
  const again = by.verify(first);
  assert.notEqual(again, known);
  assert.deepEqual(again, known);
});

test("a seed or a key that is none is refused with what it should be", () => {
  for (const seed of ["", "SU", "SUAAAA", "hello", credentials["auth"]?.trusted.services["auth"] ?? ""])
    assert.throws(() => new CallerSigner("auth", seed), /seed|nkey/);
  for (const key of ["", "U", "UAAA", credentials["auth"]?.seed ?? ""])
    assert.throws(() => new CallerVerifier({ services: { auth: key }, speakForUsers: [] }), /nkey/);
});

test("scopes: public is everybody's, internal the services' alone, * all but internal", () => {
  const holds = (principal: string, scopes: string[], scope: string): boolean =>
    holdsScope({ principal, scopes }, scope);
  assert.ok(holds("anonymous", [], "public"));
  assert.ok(!holds("device:d", [], "chat"));
  assert.ok(holds("device:d", ["chat"], "chat"));
  assert.ok(!holds("device:d", ["chat"], "chat:admin"));
  assert.ok(!holds("device:d", ["plugins:read"], "plugins"));
  assert.ok(holds("operator", ["*"], "chat"));
  assert.ok(!holds("operator", ["*", "internal"], "internal"));
  assert.ok(holds("service:agent", [], "internal"));
});
