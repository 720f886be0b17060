import assert from "node:assert/strict";
import { test } from "node:test";
import { exchange, gatewayUrl, isLoopback } from "../../src/api/transport.ts";
import { CliError, ExitCode } from "../../src/errors.ts";
import { startFakeGateway } from "../support/fake-gateway.ts";

test("an address is checked, and written without a slash at its end", () => {
  assert.equal(gatewayUrl("http://127.0.0.1:8080/"), "http://127.0.0.1:8080");
  assert.equal(gatewayUrl("https://Example.com/warren/"), "https://example.com/warren");
  for (const wrong of ["", "localhost:8080", "ftp://x", "http://user:password@x", "http://x?y", "http://x#y"])
    assert.throws(() => gatewayUrl(wrong), { exitCode: ExitCode.usage }, wrong);
});

test("only addresses of this machine are this machine", () => {
  for (const own of ["http://127.0.0.1:1", "http://127.8.9.10", "http://localhost", "http://[::1]:8080"])
    assert.equal(isLoopback(own), true, own);
  for (const other of [
    "http://127.0.0.1.example.com",
    "http://localhost.example.com",
    "http://10.0.0.1",
    "http://[::2]",
  ])
    assert.equal(isLoopback(other), false, other);
});

test("an answer that does not begin in time is no answer", async (t) => {
  const gateway = await startFakeGateway(t, { "GET /slow": () => undefined });
  const slow = exchange(fetch, gateway.url, { method: "GET", path: "/slow", timeout: 50 }, undefined);
  await assert.rejects(slow, (error) => error instanceof CliError && error.exitCode === ExitCode.unreachable);
});
