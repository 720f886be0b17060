// The images and the compose file for real: built, started, driven from outside, scaled, stopped. Minutes, not seconds: npm run test:images
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test from "node:test";
import { services as policy } from "@warren/mesh/policy";
import { baseImages, docker, type Ended, ROOT, show, unavailable } from "./engine.ts";

const SERVICES = Object.keys(policy);
const skip = await unavailable();

test("images and compose", { skip }, async (t) => {
  // Images that were built before can be used again: WARREN_TEST_TAG=<tag> npm run test:images.
  const built = process.env["WARREN_TEST_TAG"];
  const tag = built ?? `test-${randomBytes(3).toString("hex")}`;
  const port = 20_000 + (process.pid % 20_000);
  const env: NodeJS.ProcessEnv = {
    ...(await baseImages()),
    DOCKER_BUILDKIT: process.env["DOCKER_BUILDKIT"] ?? "1",
    COMPOSE_PROJECT_NAME: `warren-${tag}`,
    WARREN_VERSION: tag,
    WARREN_IMAGE_PREFIX: "warren-check",
    WARREN_HTTP_PORT: String(port),
    WARREN_GRPC_PORT: String(port + 20_000),
  };
  const nodeImage = process.env["NODE_IMAGE"] ?? env["NODE_IMAGE"];
  const compose = (...args: string[]): Promise<Ended> => docker(["compose", ...args], env);
  const up = async (...args: string[]): Promise<void> => {
    const started = await compose("up", "--detach", "--wait", "--wait-timeout", "600", "--no-build", ...args);
    if (started.code === 0) return;
    const logs = await compose("logs", "--tail", "30");
    assert.fail(`${started.stderr}\n${logs.stdout}`);
  };
  const ids = async (service: string): Promise<string[]> =>
    (await compose("ps", "--quiet", service)).stdout.split("\n").filter(Boolean);
  const health = async (): Promise<{
    status: string;
    services: { service: string; replicas: number; status: string }[];
  }> => (await fetch(`http://127.0.0.1:${port}/health?detailed=true`)).json() as never;
  t.after(async () => {
    await compose("--profile", "tools", "down", "--volumes", "--timeout", "5");
    if (built === undefined)
      await docker(["image", "rm", "--force", ...[...SERVICES, "cli"].map((name) => `warren-check/${name}:${tag}`)]);
  });

  await t.test("each image is built", { skip: built !== undefined && "they were before" }, async () => {
    for (const service of [...SERVICES, "cli"]) {
      const args = [
        "--build-arg",
        `SERVICE=${service}`,
        ...(nodeImage ? ["--build-arg", `NODE_IMAGE=${nodeImage}`] : []),
      ];
      await show(
        "docker",
        ["build", "--quiet", "--network", "host", ...args, "--tag", `warren-check/${service}:${tag}`, "."],
        env,
      );
    }
  });
  await t.test("a service that is none is refused", async () => {
    const args = [
      "build",
      "--quiet",
      "--build-arg",
      "SERVICE=nobody",
      ...(nodeImage ? ["--build-arg", `NODE_IMAGE=${nodeImage}`] : []),
    ];
    assert.notEqual((await docker([...args, "."], env)).code, 0);
  });
  await t.test("no image holds a compiler or the tests, and only the plugin host's has npm", async () => {
    for (const service of [...SERVICES, "cli"]) {
      const look =
        "for tool in cc gcc g++ make git npm; do command -v $tool || true; done; find /app -name '*.test.ts' -not -path '*/node_modules/*'; id -u";
      const { stdout, stderr } = await docker([
        "run",
        "--rm",
        "--entrypoint",
        "/bin/sh",
        `warren-check/${service}:${tag}`,
        "-c",
        look,
      ]);
      const npm = service === "plugin-host" ? ["/usr/local/bin/npm"] : [];
      assert.deepEqual(stdout.trim().split("\n"), [...npm, "10001"], `${service}: ${stderr}`);
    }
  });
  await t.test("compose brings a whole mesh up, healthy", async () => {
    await up("--scale", "plugin-host=2");
    // Each container is well by now; that the gateway has heard from all of them may take a moment more.
    let { status, services } = await health();
    for (let tries = 0; status !== "healthy" && tries < 60; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      ({ status, services } = await health());
    }
    assert.equal(status, "healthy", JSON.stringify(services));
    assert.deepEqual(services.map(({ service }) => service).toSorted(), SERVICES.toSorted());
    assert.equal(services.find(({ service }) => service === "plugin-host")?.replicas, 2);
  });
  await t.test("what runs is contained as the file says", async () => {
    for (const service of [...SERVICES, "nats", "redis"])
      for (const id of await ids(service)) {
        const status = await docker(["exec", id, "cat", "/proc/1/status"]);
        assert.match(status.stdout, /^Uid:\s+10001\s+10001/m, service);
        assert.match(status.stdout, /^CapBnd:\s+0{16}$/m, service);
        assert.match(status.stdout, /^NoNewPrivs:\s+1$/m, service);
        assert.match(status.stdout, /^Seccomp:\s+2$/m, service);
        assert.notEqual(
          (await docker(["exec", id, "sh", "-c", "echo x > /written"])).code,
          0,
          `${service}: root folder`,
        );
        const keys = await docker(["exec", id, "sh", "-c", "ls /run/warren"]);
        assert.ok(!/material|bootstrap/.test(keys.stdout), service);
      }
  });
  await t.test(
    "the operator's command pairs a device, installs a plugin, calls it in its sandbox, and talks to the agent",
    async () => {
      const smoke = `${ROOT}deploy/helm/files/smoke.sh`;
      const args = [
        "run",
        "--rm",
        "--volume",
        `${smoke}:/smoke.sh:ro`,
        "--entrypoint",
        "/bin/sh",
        "cli",
        "/smoke.sh",
        "clock",
      ];
      const { code, stdout, stderr } = await compose("--profile", "tools", ...args);
      assert.equal(code, 0, `${stdout}\n${stderr}`);
      assert.match(stdout, /all is well/);
    },
  );
  await t.test("started again, it knows what it knew: bootstrap keeps keys, NATS keeps state", async () => {
    await compose("down", "--timeout", "45");
    await up();
    const args = ["run", "--rm", "cli", "plugin", "call", "clock", "get_current_time"];
    let answer = await compose("--profile", "tools", ...args);
    for (let tries = 0; answer.code !== 0 && tries < 15; tries++) answer = await compose("--profile", "tools", ...args);
    assert.equal(answer.code, 0, answer.stderr);
    assert.match(answer.stdout, new RegExp(String(new Date().getUTCFullYear())));
  });
  await t.test("three plugin hosts are three, and every service stops in order when it is told to", async () => {
    await up("--scale", "plugin-host=3");
    assert.equal((await ids("plugin-host")).length, 3);
    await compose("stop", "--timeout", "45");
    for (const service of SERVICES)
      for (const id of (await compose("ps", "--all", "--quiet", service)).stdout.split("\n").filter(Boolean)) {
        const { stdout } = await docker(["inspect", "--format", "{{.State.ExitCode}}", id]);
        assert.equal(stdout.trim(), "0", `${service} ended by itself, not by force`);
      }
  });
});
