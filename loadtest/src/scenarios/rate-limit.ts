// Clients that ask for more than the default policy gives, and what of it they get: never more, and hardly less.
import { check } from "../recorder.ts";
import { verdict } from "../run.ts";
import type { Environment, Scenario, Verdict } from "../scenario.ts";

/** The default limits, as the guide states them. A window may let its limit through again, in proportion, as it moves on. */
const GLOBAL = { burst: 100, perSecond: 20 };
const WINDOWS = {
  "one address": { limit: 60, seconds: 60, offered: 80 },
  chat: { limit: 10, seconds: 60, offered: 20 },
  query: { limit: 5, seconds: 60, offered: 10 },
  pairing: { limit: 5, seconds: 300, offered: 8 },
} as const;
type Window = keyof typeof WINDOWS;

/** Share of what the policy gives that must be given: the clocks of client and limiter do not tick together. */
const LEAST = 0.9;
const PUBLIC_KEY = JSON.stringify({ kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });

export const rateLimit: Scenario = {
  name: "rate-limit",
  description: "more requests than the default policy admits; counts what was admitted",
  rate: 300,
  limits: "policy",
  trend: "decision",
  async prepare(environment) {
    const { recorder } = environment;
    // What one caller meets is asked first, below the global limit; the arrivals are the flood of many addresses.
    const begun = performance.now();
    const windows = await Promise.all(Object.keys(WINDOWS).map((name) => fill(environment, name as Window)));
    const before = { admitted: windows.reduce((sum, each) => sum + each.admitted, 0), at: begun };
    let all = before.admitted;
    return {
      async iterate(index) {
        // Nobody's route: it costs nothing but the decision.
        const asked = performance.now();
        const { status, headers, text } = await environment.target.request("GET", "/load-test", {
          token: null,
          headers: { "x-forwarded-for": `198.18.${(index >> 8) & 255}.${index & 255}` },
        });
        recorder.time("decision", performance.now() - asked);
        recorder.count(status === 429 ? "denied" : "admitted");
        if (status !== 429) all += 1;
        check(status === 404 || status === 429, "404 or 429", `${status} ${text}`);
        if (status === 429) check(Number(headers["retry-after"]) >= 1, "Retry-After", headers["retry-after"] ?? "none");
      },
      async verdicts() {
        const seconds = (performance.now() - begun) / 1000;
        const most = Math.floor(GLOBAL.burst + GLOBAL.perSecond * seconds);
        // On a machine that is busy with other things Redis may take longer than the 20 ms that a gateway waits: it then counts
        // by itself, beside what Redis has counted.
        const alone = await decidedAlone(environment);
        const beside = alone ? ` and ${alone} decided without Redis` : "";
        return [
          verdict(`global: admitted ≤ ${most} in ${seconds.toFixed(1)} s${beside}`, String(all), all <= most + alone),
          verdict(`global: admitted ≥ ${Math.floor(most * LEAST)}`, String(all), all >= Math.floor(most * LEAST)),
          ...windows.flatMap(windowVerdicts),
        ];
      },
    };
  },
};

interface Filled {
  readonly name: Window;
  readonly admitted: number;
  readonly seconds: number;
}

/** How many requests the gateway has decided while Redis did not answer in time. */
async function decidedAlone({ target }: Environment): Promise<number> {
  const { text } = await target.request("GET", "/metrics");
  return Number(/^warren_limiter_requests_total\{by="memory"\} (\d+)/m.exec(text)?.[1] ?? 0);
}

/** Asks for more than a window holds. */
async function fill({ target }: Environment, name: Window): Promise<Filled> {
  const begun = performance.now();
  let admitted = 0;
  for (let i = 0; i < WINDOWS[name].offered; i++) {
    // Limits by address must not stand before those by principal, nor the other way round.
    const own = { "x-forwarded-for": `198.19.${Object.keys(WINDOWS).indexOf(name)}.${i}` };
    const shared = { "x-forwarded-for": `203.0.113.${Object.keys(WINDOWS).indexOf(name)}` };
    const { status } =
      name === "one address"
        ? await target.request("GET", "/load-test", { token: null, headers: shared })
        : name === "chat"
          ? await target.request("POST", "/v1/chat", { body: { message: "Hello!" }, headers: own })
          : name === "query"
            ? await target.request("GET", `/v1/traces/${"0".repeat(31)}1`, { headers: own })
            : await target.request("POST", "/v1/pairing", {
                token: null,
                body: { deviceName: "load", publicKey: PUBLIC_KEY },
                headers: shared,
              });
    if (status !== 429) admitted += 1;
  }
  return { name, admitted, seconds: (performance.now() - begun) / 1000 };
}

function windowVerdicts({ name, admitted, seconds }: Filled): Verdict[] {
  const { limit, seconds: width } = WINDOWS[name];
  const most = limit + Math.ceil((limit * seconds) / width);
  return [
    verdict(`${name}: admitted ≤ ${most}`, String(admitted), admitted <= most),
    verdict(`${name}: admitted ≥ ${limit}`, String(admitted), admitted >= limit),
  ];
}
