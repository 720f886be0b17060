import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { ClientAddress, networkKey } from "../../src/identity/client-address.ts";

function from(remoteAddress: string | undefined, forwarded?: string): IncomingMessage {
  const headers = forwarded === undefined ? {} : { "x-forwarded-for": forwarded };
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
}

test("nobody is believed unless named", () => {
  const addresses = new ClientAddress([]);
  assert.equal(addresses.of(from("127.0.0.1", "192.0.2.1")), "127.0.0.1");
  assert.equal(addresses.of(from("::1", "192.0.2.1")), "::1");
  assert.equal(addresses.of(from(undefined, "192.0.2.1")), "local");
});

test("the list of a trusted proxy is believed from its end, as far as proxies are trusted", () => {
  const addresses = new ClientAddress(["10.0.0.0/8", "192.0.2.53", "2001:db8:ffff::/48"]);
  const table: [peer: string, forwarded: string | undefined, client: string][] = [
    ["10.1.1.1", undefined, "10.1.1.1"],
    ["10.1.1.1", "203.0.113.7", "203.0.113.7"],
    ["10.1.1.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"],
    ["10.1.1.1", "203.0.113.7, 10.2.2.2", "203.0.113.7"],
    ["10.1.1.1", "203.0.113.7, 192.0.2.53, 10.2.2.2", "203.0.113.7"],
    ["10.1.1.1", "10.3.3.3", "10.3.3.3"],
    ["10.1.1.1", "203.0.113.7, nonsense", "10.1.1.1"],
    ["10.1.1.1", "", "10.1.1.1"],
    ["::ffff:10.1.1.1", "::ffff:203.0.113.7", "203.0.113.7"],
    ["::ffff:a01:101", "203.0.113.7", "203.0.113.7"],
    ["2001:db8:ffff::1", "2001:db8:1::1", "2001:db8:1::1"],
    ["11.0.0.1", "203.0.113.7", "11.0.0.1"],
    ["192.0.2.54", "203.0.113.7", "192.0.2.54"],
  ];
  for (const [peer, forwarded, client] of table)
    assert.equal(addresses.of(from(peer, forwarded)), client, `${peer} ${forwarded}`);
});

test("entries that are no addresses and no ranges are refused by name", () => {
  for (const bad of [
    "true",
    "*",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/8/8",
    "10.0.0.0/-1",
    "proxy.example",
    "::/129",
    "10.0.0.0/0x8",
  ])
    assert.throws(
      () => new ClientAddress([bad]),
      (error: Error) => error.message.includes(`"${bad}"`),
      bad,
    );
});

test("limits count IPv4 by address and IPv6 by /64, and whatever else is one", () => {
  const table: [address: string, key: string][] = [
    ["192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::", "2001:db8:1:2::/64"],
    ["2001:DB8:1:2::1", "2001:db8:1:2::/64"],
    ["::1", "0:0:0:0::/64"],
    ["64:ff9b::192.0.2.1", "64:ff9b:0:0::/64"],
    ["local", "local"],
    ["x".repeat(1000), "local"],
    ["1:2:3", "local"],
  ];
  for (const [address, key] of table) assert.equal(networkKey(address), key, address);
});

test("the wider networks of IPv6 are /56 and /48, and IPv4 is in none", () => {
  const table: [address: string, prefix: number, key: string | undefined][] = [
    ["2001:db8:1:2345::1", 56, "2001:db8:1:2300::/56"],
    ["2001:db8:1:23ff::1", 56, "2001:db8:1:2300::/56"],
    ["2001:db8:1:2400::1", 56, "2001:db8:1:2400::/56"],
    ["2001:db8:1:2345::1", 48, "2001:db8:1::/48"],
    ["192.0.2.1", 56, undefined],
    ["192.0.2.1", 48, undefined],
    ["local", 48, undefined],
  ];
  for (const [address, prefix, key] of table) assert.equal(networkKey(address, prefix), key, `${address}/${prefix}`);
});
