import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { makeHome } from "../support/warren.ts";

test("mesh credentials and mesh nats-config make what a deployed mesh starts with", async (t) => {
  const home = await makeHome(t);
  const out = join(home.folder, "out");
  const made = await home.warren(["mesh", "credentials", "--out", out, "--json"]);
  assert.equal(made.code, 0, made.stderr);
  const { written } = JSON.parse(made.stdout) as { written: string[] };
  assert.ok(written.includes(join(out, "gateway", "mesh.json")));
  const token = await readFile(join(out, "auth", "operator-token"), "utf8");
  assert.ok(!made.stdout.includes(token.trim()) && !made.stderr.includes(token.trim()));

  const again = await home.warren(["mesh", "credentials", "--out", out]);
  assert.deepEqual([again.code, again.stdout.trim()], [0, "everything is there"]);

  const renewed = await home.warren(["mesh", "credentials", "--out", out, "--renew", "operator"]);
  assert.equal(renewed.code, 0, renewed.stderr);
  assert.notEqual(await readFile(join(out, "auth", "operator-token"), "utf8"), token);

  const config = join(out, "nats-server.json");
  const routes = "a:6222, b:6222";
  const words = [
    "mesh",
    "nats-config",
    "--keys",
    join(out, "nats"),
    "--out",
    config,
    "--name",
    "a",
    "--routes",
    routes,
  ];
  const wrote = await home.warren(words);
  assert.equal(wrote.code, 0, wrote.stderr);
  assert.equal((await stat(config)).mode & 0o777, 0o600);
  const { cluster } = JSON.parse(await readFile(config, "utf8")) as { cluster: { routes: string[] } };
  assert.equal(cluster.routes.length, 2);
});

test("mesh: what cannot be carried out is refused with what to do", async (t) => {
  const home = await makeHome(t);
  const refused = [
    [["credentials"], 2, /--out <folder> or --secrets <prefix>/],
    [["credentials", "--out", "x", "--secrets", "warren"], 2, /--out <folder> or --secrets <prefix>/],
    [["credentials", "--out", "x", "--renew", "root"], 2, /mesh, route, redis, operator/],
    [["credentials", "--out", "x", "--owner", "root"], 2, /10001:10001/],
    [["credentials", "--secrets", "Warren_1"], 2, /lower-case/],
    [["credentials", "--secrets", "warren", "--renew", "mesh"], 2, /--out/],
    [["credentials", "--secrets", "warren", "--except", "nobody"], 2, /no part nobody/],
    [["credentials", "--secrets", "warren", "--generations", "root=2"], 2, /mesh, route, redis, operator/],
    [["credentials", "--secrets", "warren"], 1, /service account/],
    [["nats-config", "--keys", "nowhere", "--out", "x"], 1, /nowhere/],
    [["nats-config", "--keys", "nowhere", "--out", "x", "--port", "0"], 2, /--port/],
  ] as const;
  await Promise.all(
    refused.map(async ([words, code, said]) => {
      const ended = await home.warren(["mesh", ...words]);
      assert.equal(ended.code, code, `${words.join(" ")}: ${ended.stderr}`);
      assert.match(ended.stderr, said);
    }),
  );
});
