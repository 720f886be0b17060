import assert from "node:assert/strict";
import { it } from "node:test";
import { clientNetwork } from "../../src/pairing/client-network.ts";

it("counts an IPv4 address for itself, also when it is written as IPv6", () => {
  assert.equal(clientNetwork("203.0.113.9"), "203.0.113.9");
  assert.equal(clientNetwork("::ffff:203.0.113.9"), "203.0.113.9");
  assert.equal(clientNetwork("::FFFF:cb00:7109"), "203.0.113.9");
});

it("counts the addresses of one IPv6 /64 together", () => {
  const network = "2001:db8:1:2::/64";
  assert.equal(clientNetwork("2001:db8:1:2::1"), network);
  assert.equal(clientNetwork("2001:0db8:0001:0002:ffff:ffff:ffff:ffff"), network);
  assert.notEqual(clientNetwork("2001:db8:1:3::1"), network);
  assert.equal(clientNetwork("::1"), "0:0:0:0::/64");
  assert.equal(clientNetwork("fe80::1%eth0"), "fe80:0:0:0::/64");
});

it("counts whoever shows no address together", () => {
  assert.equal(clientNetwork(undefined), "unknown");
  assert.equal(clientNetwork("not an address"), "unknown");
});
