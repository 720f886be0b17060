import assert from "node:assert/strict";
import test from "node:test";
import * as fc from "fast-check";
import { operatorTokenFile, serviceEnvironment, type StackLayout } from "../src/service-environment.ts";

fc.configureGlobal({ seed: 20_260_301 });

const SERVICES = ["gateway", "auth", "agent", "plugin-host", "secrets"];

function layout(inherited: NodeJS.ProcessEnv, more: Partial<StackLayout> = {}): StackLayout {
  return {
    dataDir: "/data",
    natsUrl: "nats://127.0.0.1:4000",
    redisPath: "/data/redis/redis.sock",
    httpHost: "127.0.0.1",
    httpPort: 8080,
    grpcPort: 8081,
    credentialsOf: (service) => `/data/credentials/${service}.json`,
    inherited,
    ...more,
  };
}

test("a service gets Warren's, OpenTelemetry's and a few harmless settings of the environment, and no other", () => {
  const name = fc.oneof(
    fc.constantFrom(
      "AWS_SECRET_ACCESS_KEY",
      "NODE_OPTIONS",
      "LD_PRELOAD",
      "SSH_AUTH_SOCK",
      "xWARREN_A",
      "WARREN",
      "OTEL",
      "npm_token",
    ),
    fc.constantFrom("WARREN_LOG_LEVEL", "OTEL_EXPORTER_OTLP_ENDPOINT", "npm_config_registry", "PATH", "HOME", "TZ"),
    fc.string({ minLength: 1 }).filter((text) => text !== "__proto__"),
  );
  fc.assert(
    fc.property(fc.dictionary(name, fc.string()), fc.constantFrom(...SERVICES), (inherited, service) => {
      const own = Object.keys(serviceEnvironment(layout({}), service, "x-1"));
      for (const key of Object.keys(serviceEnvironment(layout(inherited), service, "x-1"))) {
        const allowed =
          /^(WARREN_|OTEL_|npm_config_|PATH$|HOME$|LANG$|TZ$|TMPDIR$|HTTPS_PROXY$|NO_PROXY$|NODE_EXTRA_CA_CERTS$)/;
        assert.ok(own.includes(key) || allowed.test(key), key);
      }
    }),
  );
});

test("what a person set is passed on; what the stack decides cannot be overridden by it", () => {
  const inherited = {
    WARREN_LOG_LEVEL: "debug",
    WARREN_NATS_URL: "nats://elsewhere:1",
    WARREN_MESH_CREDENTIALS: "/other",
  };
  const env = serviceEnvironment(layout(inherited), "agent", "agent-1");
  assert.equal(env["WARREN_LOG_LEVEL"], "debug");
  assert.equal(env["WARREN_NATS_URL"], "nats://127.0.0.1:4000");
  assert.equal(env["WARREN_MESH_CREDENTIALS"], "/data/credentials/agent.json");
  assert.equal(env["WARREN_INSTANCE_ID"], "agent-1");
});

test("each service is told of its own alone: only secrets knows the root key, only auth the operator's token", () => {
  const of = (service: string) => serviceEnvironment(layout({}), service, `${service}-1`);
  for (const service of SERVICES) {
    const env = of(service);
    assert.equal("WARREN_SECRETS_ROOT_KEY_FILE" in env, service === "secrets");
    assert.equal("WARREN_OPERATOR_TOKEN_FILE" in env, service === "auth");
    assert.equal("WARREN_HTTP_PORT" in env, service === "gateway");
    assert.equal("WARREN_GRPC_PORT" in env, service === "gateway");
    assert.equal(env["WARREN_MESH_CREDENTIALS"], `/data/credentials/${service}.json`);
    // Paths and names only: a secret's value stands in a file.
    for (const value of Object.values(env)) assert.doesNotMatch(value ?? "", /^SU[A-Z2-7]{40}/);
  }
  assert.equal(of("auth")["WARREN_OPERATOR_TOKEN_FILE"], operatorTokenFile("/data"));
  assert.equal(of("gateway")["WARREN_REDIS_URL"], "unix:///data/redis/redis.sock");
  assert.equal(
    "WARREN_REDIS_URL" in serviceEnvironment(layout({}, { redisPath: undefined }), "gateway", "gateway-1"),
    false,
  );
});
