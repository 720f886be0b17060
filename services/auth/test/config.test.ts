import assert from "node:assert/strict";
import { it } from "node:test";
import { ConfigError, loadConfig } from "@warren/service";
import { config } from "../src/config.ts";

const defaults = { pairingShowCodeInLog: false, pairingTotp: "enabled", pairingRequireProof: false };

it("has no operator and shows no code unless it is told to", () => {
  assert.deepEqual(loadConfig(config, "auth", {}), defaults);
});

it("reads its settings from the environment", () => {
  const env = {
    WARREN_OPERATOR_TOKEN_FILE: "/data/operator-token",
    WARREN_PAIRING_SHOW_CODE_IN_LOG: "true",
    WARREN_PAIRING_TOTP: "always",
    WARREN_PAIRING_REQUIRE_PROOF: "true",
  };
  assert.deepEqual(loadConfig(config, "auth", env), {
    operatorTokenFile: "/data/operator-token",
    pairingShowCodeInLog: true,
    pairingTotp: "always",
    pairingRequireProof: true,
  });
});

it("takes nothing for a yes but true", () => {
  assert.equal(loadConfig(config, "auth", { WARREN_PAIRING_SHOW_CODE_IN_LOG: "false" }).pairingShowCodeInLog, false);
  for (const value of ["1", "yes", "TRUE"])
    assert.throws(() => loadConfig(config, "auth", { WARREN_PAIRING_SHOW_CODE_IN_LOG: value }), ConfigError);
});
