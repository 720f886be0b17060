import assert from "node:assert/strict";
import { mock, test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { describeTime } from "../src/time.ts";

async function connect(t: TestContext): Promise<Client> {
  const client = new Client({ name: "test", version: "1.0.0" });
  t.after(() => client.close());
  const entry = fileURLToPath(new URL("../src/main.ts", import.meta.url));
  await client.connect(new StdioClientTransport({ command: process.execPath, args: [entry], stderr: "ignore" }));
  return client;
}

test("the official MCP client lists one tool, which is described by what people ask", async (t) => {
  const client = await connect(t);
  assert.equal(client.getServerVersion()?.name, "clock");
  const { tools } = await client.listTools();
  assert.deepEqual(
    tools.map(({ name }) => name),
    ["get_current_time"],
  );
  for (const word of ["what", "time", "is", "it", "day", "date"]) {
    assert.match(tools[0]?.description ?? "", new RegExp(`\\b${word}\\b`, "i"));
  }
});

test("tells the time now, in UTC where no zone is given", async (t) => {
  const client = await connect(t);
  const before = Math.floor(Date.now() / 1000) * 1000;
  const { structuredContent, isError } = await client.callTool({ name: "get_current_time" });
  const time = structuredContent as { iso: string; timezone: string; text: string };
  assert.ok(!isError);
  assert.equal(time.timezone, "UTC");
  assert.ok(Date.parse(time.iso) >= before && Date.parse(time.iso) <= Date.now());
  const berlin = await client.callTool({ name: "get_current_time", arguments: { timezone: "Europe/Berlin" } });
  assert.match(JSON.stringify(berlin.structuredContent), /Europe\/Berlin/);
});

test("says what is wrong with a zone or an argument", async (t) => {
  const client = await connect(t);
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ timezone: "Mars/Olympus" }, /no time zone "Mars\/Olympus".*Europe\/Berlin/],
    [{ timezone: "+02:00" }, /no time zone/],
    [{ timezone: 3 }, /timezone must be a string/],
    [{ timezone: "" }, /timezone must have at least 1 character/],
    [{ zone: "UTC" }, /zone is not known; there is timezone/],
  ];
  for (const [args, message] of cases) {
    const { content, isError } = await client.callTool({ name: "get_current_time", arguments: args });
    assert.equal(isError, true);
    assert.match(JSON.stringify(content).replaceAll('\\"', '"'), message);
  }
});

test("a moment is described with the offset of that moment", () => {
  const winter = new Date("2026-01-15T11:05:09.987Z");
  assert.deepEqual(describeTime(winter, "europe/berlin"), {
    iso: "2026-01-15T12:05:09+01:00",
    timezone: "Europe/Berlin",
    utcOffset: "+01:00",
    text: "It is Thursday, 15 January 2026 at 12:05 in Europe/Berlin (UTC+01:00).",
  });
  const cases: [zone: string, moment: string, iso: string][] = [
    ["Europe/Berlin", "2026-07-15T11:00:00Z", "2026-07-15T13:00:00+02:00"],
    ["UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00"],
    ["Asia/Kathmandu", "2026-01-01T00:00:00Z", "2026-01-01T05:45:00+05:45"],
    ["America/New_York", "2026-01-01T00:30:00Z", "2025-12-31T19:30:00-05:00"],
  ];
  for (const [zone, moment, iso] of cases) {
    const time = describeTime(new Date(moment), zone);
    assert.equal(time.iso, iso);
    assert.equal(time.timezone, zone);
    assert.equal(Date.parse(time.iso), Date.parse(moment));
  }
});

test("what a zone needs is made once: thousands of calls take no more memory than one", (t) => {
  const made = mock.method(Intl, "DateTimeFormat");
  t.after(() => made.mock.restore());
  const moments = Array.from({ length: 1000 }, (_, i) => describeTime(new Date(i * 3_600_000), "Asia/Tokyo").iso);
  assert.equal(new Set(moments).size, 1000);
  assert.ok(made.mock.callCount() <= 3, `${made.mock.callCount()} formatters`);
});
