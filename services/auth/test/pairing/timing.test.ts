// How long a refusal takes must not tell what was wrong: not whether the pairing is there, nor how much of a proof is right.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import type { Store } from "../../src/compare-and-set.ts";
import { createTotp } from "../../src/factors/totp.ts";
import { stepOf, totpAt } from "../../src/factors/totp-code.ts";
import { createAttemptCounter } from "../../src/pairing/backoff.ts";
import { parseDeviceKey } from "../../src/pairing/device-key.ts";
import { createPairings, type PairingProof, PairingRefusal, type RefusalReason } from "../../src/pairing/pairing.ts";
import { createSealer } from "../../src/seal.ts";
import { createRefreshTokenMint, newFamily } from "../../src/tokens/refresh-token.ts";
import { createRefreshTokens } from "../../src/tokens/refresh.ts";
import { newDevice } from "../support/device.ts";

/** A store in memory, which notes what is done to it: the mesh's own time is not what is measured. */
function memoryStore<T>(trace: string[]): Store<T> {
  const entries = new Map<string, { text: string; revision: number }>();
  let revision = 0;
  const write = (key: string, value: T): number => {
    trace.push("write");
    revision += 1;
    entries.set(key, { text: JSON.stringify(value), revision });
    return revision;
  };
  const read = (key: string): { key: string; value: T; revision: number; created: Date } | undefined => {
    const found = entries.get(key);
    return found && { key, value: JSON.parse(found.text) as T, revision: found.revision, created: new Date() };
  };
  return {
    get: async (key) => {
      trace.push("read");
      return read(key);
    },
    create: async (key, value) => {
      if (entries.has(key)) throw new RpcError(StatusCode.ALREADY_EXISTS, "It is there");
      return write(key, value);
    },
    update: async (key, value) => write(key, value),
    entries: async (prefix = "") =>
      [...entries.keys()].filter((key) => key.startsWith(prefix)).flatMap((key) => read(key) ?? []),
  };
}

type Kinds = Readonly<Record<string, () => Promise<() => Promise<void>>>>;

/** Takes times of each kind of attempt, in turns, so that whatever else the machine does falls on all alike. */
async function measure(kinds: Kinds, rounds: number, times: Map<string, number[]>): Promise<void> {
  for (let round = 0; round < rounds; round++)
    for (const [name, prepare] of Object.entries(kinds)) {
      const attempt = await prepare();
      const start = process.hrtime.bigint();
      await attempt();
      times.set(name, [...(times.get(name) ?? []), Number(process.hrtime.bigint() - start)]);
    }
}

/** The tenth percentile: what an attempt takes when nothing comes in between, which is also what attackers look at. */
function typical(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 10)] ?? 0;
}

/** A leak shows as a multiple: a signature left unverified is most of what an attempt costs. */
const TOLERANCE = 0.25;
const ROUNDS = 40;
const MOST_BATCHES = 10;

/** The typical times must agree. A busy machine blurs them: then more is measured, and a true difference stays. */
async function assertAlike(kinds: Kinds): Promise<void> {
  // Warms the compiler up.
  await measure(kinds, ROUNDS, new Map());
  const times = new Map<string, number[]>();
  for (let batch = 1; ; batch++) {
    await measure(kinds, ROUNDS, times);
    const all = [...times].map(([name, values]) => [name, typical(values)] as const);
    const spread = Math.max(...all.map(([, time]) => time)) / Math.min(...all.map(([, time]) => time)) - 1;
    if (spread <= TOLERANCE) return;
    assert.ok(batch < MOST_BATCHES, `times in ns: ${JSON.stringify(all)}`);
  }
}

async function begin() {
  const trace: string[] = [];
  let now = Date.now();
  const clock = (): number => now;
  const secret = randomBytes(32);
  const counter = { kv: memoryStore<never>(trace) as never, clock };
  // Nobody is slowed down here: what is measured are the attempts that are judged.
  const policy = { free: 1e9, baseMs: 1, maxMs: 1 };
  const factor = createTotp({
    kv: memoryStore(trace),
    sealer: createSealer(secret, "totp"),
    sealingKey: secret,
    clock,
  });
  const enrolled = await factor.enroll({});
  await factor.verify(totpAt(enrolled.secret, stepOf(now)));
  now += 60_000;
  const pairings = createPairings({
    // A start looks at those that wait: here none does for long, so that all starts cost the same.
    kv: { ...memoryStore(trace), entries: async () => [] },
    networks: createAttemptCounter({ ...counter, prefix: "network", policy }),
    fleet: createAttemptCounter({ ...counter, prefix: "fleet", policy }),
    sealer: createSealer(secret, "pairing-code"),
    factor,
    factorPolicy: "enabled",
    clock,
  });
  const device = newDevice();
  const foreign = newDevice();
  const start = async () => {
    const wish = {
      deviceName: "Laptop",
      key: parseDeviceKey(device.publicKey),
      scopes: ["chat"],
      address: "203.0.113.5",
    };
    const { record, code } = await pairings.start(wish);
    const proof = (typed = code, by = device, totp = "000000"): PairingProof => ({
      id: record.id,
      code: typed,
      signature: by.prove(record.challenge, typed, record.id),
      totp,
      address: "203.0.113.5",
    });
    return { proof };
  };
  const refused = (proof: PairingProof, why: RefusalReason) => async (): Promise<void> => {
    const error: unknown = await pairings.complete(proof).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof PairingRefusal && error.why === why, `${String(error)} for ${why}`);
  };
  /** One attempt of each kind that a guesser may make, each on a pairing of its own. */
  const kinds = {
    "a pairing that is not there": async () => {
      const { proof } = await start();
      return refused({ ...proof(), id: randomBytes(16).toString("hex") }, "unknown");
    },
    "a wrong code": async () => {
      const { proof } = await start();
      return refused(proof("22222222", foreign), "wrong_code");
    },
    "a right code under another key": async () => {
      const { proof } = await start();
      return refused(proof(undefined, foreign), "wrong_signature");
    },
    "all right but the one-time password": async () => {
      const { proof } = await start();
      return refused(proof(), "wrong_factor");
    },
    "a wrong code with a right one-time password": async () => {
      const { proof } = await start();
      return refused(proof("22222222", foreign, totpAt(enrolled.secret, stepOf(now))), "wrong_code");
    },
  };
  return { trace, kinds };
}

test("attempts on a pairing do the same to the state, whatever is wrong with them", async () => {
  const { trace, kinds } = await begin();
  const traces = new Map<string, string>();
  for (const [name, prepare] of Object.entries(kinds)) {
    const attempt = await prepare();
    trace.length = 0;
    await attempt();
    traces.set(name, trace.join(" "));
  }
  assert.equal(new Set(traces.values()).size, 1, JSON.stringify([...traces]));
});

test("attempts on a pairing take the same time, whatever is wrong with them", { timeout: 120_000 }, async () => {
  const { kinds } = await begin();
  await assertAlike(kinds);
});

test("a refresh token of a family that is not there takes the same time as a wrong one of one that is", async () => {
  const trace: string[] = [];
  const mint = createRefreshTokenMint(randomBytes(32));
  const other = createRefreshTokenMint(randomBytes(32));
  const tokens = createRefreshTokens({ kv: memoryStore(trace), mint, clock: Date.now });
  const family = newFamily();
  await tokens.open("device-1", family);
  const refused = (token: string) => async (): Promise<void> => {
    assert.equal((await tokens.rotate(token)).outcome, "refused");
  };
  await assertAlike({
    "no such family": async () => refused(other.first(newFamily())),
    "a wrong token": async () => refused(other.first(family)),
  });
});
