import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { methods } from "@warren/contract";
import {
  CHART,
  environmentOf,
  type Json,
  type Manifest,
  podOf,
  render,
  type Rendered,
  SERVICES,
  template,
  VALUE_SETS,
  workloads,
} from "./support/chart.ts";
import { missing, run } from "./support/tools.ts";

const skip = missing("helm");
const WANTED = ["default", "minimal", "high-availability", "external-nats-and-redis", "autoscaled", "locked-down"];

const deployment = (chart: Rendered, service: string): Manifest => chart.get("Deployment", `warren-${service}`);
const container = (chart: Rendered, service: string): Json =>
  podOf(deployment(chart, service))["containers"]?.[0] as Json;

test("the value sets are those that the design names", () => {
  assert.deepEqual(Object.keys(VALUE_SETS).sort(), WANTED.toSorted());
});

test("the chart passes helm lint --strict with each value set", { skip }, async () => {
  const lints = await Promise.all(
    Object.values(VALUE_SETS).map((file) => run("helm", ["lint", "--strict", CHART, "--values", file])),
  );
  for (const { code, stdout, stderr } of lints) assert.equal(code, 0, `${stdout}\n${stderr}`);
});

test("the chart, as anybody installs it", { skip }, async (t) => {
  const chart = await render("default");

  await t.test("needs no other repository: NATS three times with JetStream, and Redis", () => {
    assert.ok(!/^dependencies:/m.test(readFileSync(join(CHART, "Chart.yaml"), "utf8")));
    const nats = chart.get("StatefulSet", "warren-nats");
    assert.equal(nats.spec["replicas"], 3);
    assert.equal(String(nats.spec["volumeClaimTemplates"]?.[0]?.["metadata"]?.["name"]), "data");
    assert.ok(chart.has("Deployment", "warren-redis"));
  });
  await t.test("runs the five services", () => {
    for (const service of SERVICES) assert.ok(chart.has("Deployment", `warren-${service}`), service);
  });
  await t.test("keeps state three times, where NATS is three", () => {
    for (const service of SERVICES)
      assert.equal(environmentOf(deployment(chart, service))["WARREN_STATE_REPLICAS"], "3", service);
  });
  await t.test("probes each service's start, life and readiness on the port that only monitors know", () => {
    for (const service of SERVICES) {
      const { startupProbe, livenessProbe, readinessProbe } = container(chart, service);
      assert.deepEqual(startupProbe?.["httpGet"], { path: "/health/ready", port: "metrics" });
      assert.deepEqual(livenessProbe?.["httpGet"], { path: "/health/live", port: "metrics" });
      assert.deepEqual(readinessProbe?.["httpGet"], { path: "/health/ready", port: "metrics" });
    }
  });
  await t.test("probes NATS and Redis too", () => {
    for (const manifest of [chart.get("StatefulSet", "warren-nats"), chart.get("Deployment", "warren-redis")])
      for (const probe of ["startupProbe", "livenessProbe", "readinessProbe"])
        assert.ok(podOf(manifest)["containers"]?.[0]?.[probe], `${manifest.metadata.name}: ${probe}`);
  });
  await t.test("lets a pod go only after preStop and a drain longer than the longest deadline of any call", () => {
    const longest = Math.max(...[...methods.values()].map(({ timeoutMs }) => timeoutMs));
    assert.ok(longest >= 120_000, "deadlines were read from the contracts");
    for (const service of SERVICES) {
      const drain = Number(environmentOf(deployment(chart, service))["WARREN_DRAIN_GRACE_MS"]);
      const [, preStop] = [...(container(chart, service)["lifecycle"]?.["preStop"]?.["exec"]?.["command"] ?? [])];
      const grace = Number(podOf(deployment(chart, service))["terminationGracePeriodSeconds"]);
      assert.ok(drain > longest, `${service}: drain`);
      assert.ok(Number(preStop) > 0, `${service}: preStop`);
      // runService gives a stop 10 s beside the drain.
      assert.ok(grace >= Number(preStop) + drain / 1000 + 10, `${service}: grace`);
    }
  });
  await t.test("has NATS leave in lame duck mode", () => {
    const command = podOf(chart.get("StatefulSet", "warren-nats"))["containers"]?.[0]?.["lifecycle"]?.["preStop"];
    assert.deepEqual(command, { exec: { command: ["nats-server", "--signal", "ldm=/run/warren/nats.pid"] } });
  });
  await t.test("bounds every container's memory and says what it needs", () => {
    for (const manifest of workloads(chart))
      for (const each of [...(podOf(manifest)["initContainers"] ?? []), ...(podOf(manifest)["containers"] ?? [])]) {
        const { requests, limits } = each["resources"] as Json;
        assert.ok(requests?.["cpu"] && requests["memory"], `${manifest.metadata.name} ${String(each["name"])}`);
        assert.ok(limits?.["memory"], `${manifest.metadata.name} ${String(each["name"])}`);
      }
  });
  await t.test("contains every container: non-root, read-only root, no capability, no new privilege, seccomp", () => {
    for (const manifest of workloads(chart)) {
      const pod = podOf(manifest);
      const { name } = manifest.metadata;
      // The one that lays a profile on nodes is root there, and nothing else.
      if (name !== "warren-seccomp") assert.equal(pod["securityContext"]?.["runAsNonRoot"], true, name);
      assert.deepEqual(pod["securityContext"]?.["seccompProfile"], { type: "RuntimeDefault" }, name);
      for (const each of [...(pod["initContainers"] ?? []), ...(pod["containers"] ?? [])]) {
        const { allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities, privileged } = each[
          "securityContext"
        ] as Json;
        assert.deepEqual(
          [allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities, privileged],
          [false, true, { drop: ["ALL"] }, undefined],
          `${name} ${String(each["name"])}`,
        );
      }
    }
  });
  await t.test("gives no pod a Kubernetes token but bootstrap, which has one for its Secrets alone", () => {
    for (const manifest of workloads(chart))
      assert.equal(
        podOf(manifest)["automountServiceAccountToken"],
        manifest.metadata.name === "warren-bootstrap",
        manifest.metadata.name,
      );
    for (const account of chart.ofKind("ServiceAccount")) assert.equal(account["automountServiceAccountToken"], false);
    const [create, change] = chart.get("Role", "warren-bootstrap")["rules"] as Json[];
    assert.deepEqual([...(create?.["verbs"] ?? [])], ["create"]);
    assert.deepEqual([...(change?.["verbs"] ?? [])], ["get", "update"]);
    assert.deepEqual(
      [...(change?.["resourceNames"] ?? [])].map(String).sort(),
      ["agent", "auth", "bootstrap", "gateway", "nats", "plugin-host", "redis", "secrets"].map(
        (part) => `warren-${part}`,
      ),
    );
    assert.equal(chart.ofKind("ClusterRole").length, 0);
  });
  await t.test("takes bootstrap's rights away when it is done", () => {
    for (const kind of ["ServiceAccount", "Role", "RoleBinding", "Job"]) {
      const { annotations } = chart.get(kind, "warren-bootstrap").metadata;
      assert.equal(annotations?.["helm.sh/hook"], "pre-install,pre-upgrade");
      assert.match(annotations["helm.sh/hook-delete-policy"] ?? "", /hook-succeeded/);
    }
  });
  await t.test("shows each pod its own Secret and no other, as files that nobody else can read", () => {
    for (const service of SERVICES) {
      const { volumes, initContainers } = podOf(deployment(chart, service));
      const secrets = [...(volumes ?? [])].flatMap((volume) => volume["secret"]?.["secretName"] ?? []);
      assert.deepEqual(secrets.map(String), [`warren-${service}`]);
      assert.match(String(initContainers?.[0]?.["args"]?.[0]), /install -m 0600/);
      assert.equal(String([...(volumes ?? [])][0]?.["emptyDir"]?.["medium"]), "Memory");
    }
    const mounting = workloads(chart).filter((manifest) => JSON.stringify(manifest).includes('"warren-bootstrap"'));
    assert.deepEqual(
      mounting.map(({ metadata }) => metadata.name),
      ["warren-bootstrap"],
      "the Secret with every key is mounted nowhere",
    );
  });
  await t.test("puts no secret into an environment or into arguments", () => {
    const text = JSON.stringify(workloads(chart).map((manifest) => podOf(manifest)));
    assert.ok(!/secretKeyRef|secretRef/.test(text));
  });
  await t.test("keeps one of each while nodes are emptied, and spreads them", () => {
    for (const service of SERVICES) {
      assert.equal(chart.get("PodDisruptionBudget", `warren-${service}`).spec["maxUnavailable"], 1);
      const spread = [...(podOf(deployment(chart, service))["topologySpreadConstraints"] ?? [])];
      assert.deepEqual(
        spread.map((each) => each["topologyKey"]),
        ["kubernetes.io/hostname", "topology.kubernetes.io/zone"],
      );
    }
    assert.equal(chart.get("PodDisruptionBudget", "warren-nats").spec["maxUnavailable"], 1);
  });
  await t.test("never has fewer pods during an update than before", () => {
    for (const service of SERVICES)
      assert.deepEqual(deployment(chart, service).spec["strategy"]?.["rollingUpdate"], {
        maxSurge: 1,
        maxUnavailable: 0,
      });
  });
  await t.test("gives plugin hosts what the sandbox needs, and nobody else", () => {
    const pod = podOf(deployment(chart, "plugin-host"));
    assert.equal(pod["hostUsers"], false);
    const { procMount, seccompProfile } = container(chart, "plugin-host")["securityContext"] as Json;
    assert.equal(procMount, "Unmasked");
    assert.deepEqual(seccompProfile, { type: "Localhost", localhostProfile: "warren/plugin-host.json" });
    for (const service of SERVICES.filter((each) => each !== "plugin-host")) {
      assert.equal(podOf(deployment(chart, service))["hostUsers"], undefined);
      assert.equal(container(chart, service)["securityContext"]?.["procMount"], undefined);
    }
    const installed = JSON.parse(chart.get("ConfigMap", "warren-seccomp").data?.["plugin-host.json"] ?? "") as unknown;
    assert.deepEqual(installed, JSON.parse(readFileSync(join(CHART, "files/plugin-host.json"), "utf8")));
  });
  await t.test("denies every connection that no policy names", () => {
    const all = chart.get("NetworkPolicy", "warren-deny-all").spec;
    assert.deepEqual([...(all["policyTypes"] ?? [])], ["Ingress", "Egress"]);
    assert.ok(!all["ingress"] && !all["egress"]);
    const callers = (name: string): unknown =>
      [...(chart.get("NetworkPolicy", name).spec["ingress"] ?? [])].map((rule) => [
        [...(rule["ports"] ?? [])].map((port) => port["port"]),
        [...(rule["from"] ?? [])].map(
          (from) =>
            from["podSelector"]?.["matchExpressions"]?.[0]?.["values"] ??
            from["podSelector"]?.["matchLabels"]?.["app.kubernetes.io/component"] ??
            "namespace",
        ),
      ]);
    assert.deepEqual(callers("warren-redis"), [[["redis"], ["gateway"]]]);
    assert.deepEqual(callers("warren-nats"), [
      [["nats"], [SERVICES.toSorted()]],
      [["routes"], ["nats"]],
    ]);
    assert.deepEqual(callers("warren-gateway"), [[["http", "grpc"], ["namespace"]]]);
    for (const service of ["auth", "agent", "plugin-host", "secrets"])
      assert.deepEqual(callers(`warren-${service}`), []);
  });
  await t.test("lets only agents and plugin hosts out, and not to metadata services nor into the cluster", () => {
    for (const service of SERVICES) {
      const text = JSON.stringify(chart.get("NetworkPolicy", `warren-${service}`).spec["egress"]);
      assert.equal(text.includes("0.0.0.0/0"), ["agent", "plugin-host"].includes(service), service);
      if (text.includes("0.0.0.0/0"))
        for (const range of ["169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"])
          assert.ok(text.includes(range), `${service}: ${range}`);
    }
  });
  await t.test("knows the names under which clients in the cluster reach the gateway", () => {
    const hosts = environmentOf(deployment(chart, "gateway"))["WARREN_HTTP_ALLOWED_HOSTS"]?.split(",");
    for (const host of ["warren-gateway", "warren-gateway.mesh.svc.cluster.local", "localhost"])
      assert.ok(hosts?.includes(host), host);
    assert.ok(!hosts?.includes("*"));
  });
  await t.test("has a test that pairs a device, calls a plugin and reads the answer", () => {
    const pod = chart.get("Pod", "warren-test");
    assert.equal(pod.metadata.annotations?.["helm.sh/hook"], "test");
    const script = chart.get("ConfigMap", "warren-test").data?.["smoke.sh"] ?? "";
    for (const step of [/ pair .*--approve/, /plugin call "\$1"/, /case "\$answer" in/, / chat /])
      assert.match(script, step);
  });
  await t.test("names each object once, and in the namespace of the release", () => {
    const names = chart.all.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    assert.equal(new Set(names).size, names.length);
    for (const { kind, metadata } of chart.all)
      assert.equal((metadata as { namespace?: string }).namespace, "mesh", `${kind}/${metadata.name}`);
  });
});

test("one template makes all services: each differs only by what is its own", { skip }, async () => {
  const chart = await render("default");
  const shape = (service: string): string[] => Object.keys(podOf(deployment(chart, service))).sort();
  for (const service of ["auth", "agent", "secrets"]) assert.deepEqual(shape(service), shape("gateway"));
});

test("a change of configuration starts pods anew", { skip }, async () => {
  const [before, after] = await Promise.all([
    render("default"),
    render(
      "default",
      'services.gateway.limits=[{"name":"a","algorithm":"bucket","key":"global","limit":1,"period":1}]',
    ),
  ]);
  const sum = (chart: Rendered, service: string): unknown =>
    deployment(chart, service).spec["template"]?.["metadata"]?.["annotations"]?.["checksum/config"];
  assert.notEqual(sum(before, "gateway"), sum(after, "gateway"));
  assert.equal(sum(before, "auth"), sum(after, "auth"));
  const { limits } = JSON.parse(after.get("ConfigMap", "warren-gateway").data?.["limits.json"] ?? "") as {
    limits: unknown[];
  };
  assert.equal(limits.length, 1);
});

test("keys are made anew when their word changes, and every pod starts with them", { skip }, async () => {
  const [before, after] = await Promise.all([render("default"), render("default", 'bootstrap.generations.redis="2"')]);
  const args = String(podOf(after.get("Job", "warren-bootstrap"))["containers"]?.[0]?.["args"]);
  assert.match(args, /--generations=mesh=1,operator=1,redis=2,route=1/);
  for (const name of [...SERVICES, "redis", "nats"]) {
    const sum = (chart: Rendered): unknown =>
      chart.get(name === "nats" ? "StatefulSet" : "Deployment", `warren-${name}`).spec["template"]?.["metadata"]?.[
        "annotations"
      ]?.["checksum/config"];
    assert.notEqual(sum(before), sum(after), name);
  }
});

test("one of each: no budget that would keep a node from being emptied, state once", { skip }, async () => {
  const chart = await render("minimal");
  assert.equal(chart.ofKind("PodDisruptionBudget").length, 0);
  assert.equal(environmentOf(deployment(chart, "agent"))["WARREN_STATE_REPLICAS"], "1");
  assert.ok(!JSON.stringify(chart.get("StatefulSet", "warren-nats")).includes("--routes"));
});

test("every setting of every service can be given by the chart's values", { skip }, async () => {
  const root = join(import.meta.dirname, "../..");
  const settingsOf = (file: string): string[] =>
    [...readFileSync(join(root, file), "utf8").matchAll(/\benv: "([A-Z0-9_]+)"/g)].map(([, name = ""]) => name);
  const common = settingsOf("packages/service/src/config.ts");
  assert.ok(common.includes("WARREN_LOG_LEVEL"), "settings are read out of the sources");
  for (const service of SERVICES) {
    // By a field of the pod.
    const names = [...common, ...settingsOf(`services/${service}/src/config.ts`)].filter(
      (name) => name !== "WARREN_INSTANCE_ID",
    );
    const wanted = Object.fromEntries(names.map((name) => [name, `value of ${name}`]));
    const chart = await render("default", `services.${service}.env=${JSON.stringify(wanted)}`);
    const rendered = environmentOf(deployment(chart, service));
    assert.deepEqual(Object.fromEntries(names.map((name) => [name, rendered[name]])), wanted, service);
  }
});

test(
  "where clients reach the gateway is a value of its own, and a Redis Cluster an address like another",
  { skip },
  async () => {
    const env = async (...settings: string[]): Promise<Record<string, string>> =>
      environmentOf(deployment(await render("default", ...settings), "gateway"));
    assert.equal((await env())["WARREN_HTTP_PUBLIC_URL"], undefined);
    const named = await env(
      'services.gateway.publicUrl="https://warren.example.org"',
      'redis.external.url="rediss+cluster://one.data:6379,two.data:6379"',
    );
    assert.equal(named["WARREN_HTTP_PUBLIC_URL"], "https://warren.example.org");
    assert.equal(named["WARREN_REDIS_URL"], "rediss+cluster://one.data:6379,two.data:6379");
  },
);

test(
  "NATS and Redis of one's own: none is installed, existing Secrets are used, nothing is made",
  { skip },
  async () => {
    const chart = await render("external-nats-and-redis");
    assert.equal(chart.ofKind("StatefulSet").length, 0);
    assert.ok(!chart.has("Deployment", "warren-redis"));
    assert.equal(chart.ofKind("Job").length + chart.ofKind("Role").length, 0);
    const env = environmentOf(deployment(chart, "gateway"));
    assert.equal(env["WARREN_NATS_URL"], "tls://nats-0.data:4222,tls://nats-1.data:4222");
    assert.equal(env["WARREN_NATS_CA"], "/etc/warren-nats/ca.crt");
    assert.equal(env["WARREN_REDIS_URL"], "rediss://redis.data:6380");
    assert.equal(env["WARREN_REDIS_PASSWORD_FILE"], "/run/warren/redis-password");
    for (const service of SERVICES)
      assert.ok(JSON.stringify(podOf(deployment(chart, service))).includes(`"mesh-${service}"`), service);
    assert.ok(
      !JSON.stringify(podOf(deployment(chart, "agent"))).includes("tls.key"),
      "services get the authority alone",
    );
  },
);

test("scaled: the number of replicas is left to what scales", { skip }, async () => {
  const chart = await render("autoscaled");
  for (const service of ["gateway", "auth", "agent", "plugin-host"]) {
    assert.equal(deployment(chart, service).spec["replicas"], undefined, service);
    assert.ok(chart.has("PodDisruptionBudget", `warren-${service}`), service);
  }
  assert.equal(deployment(chart, "secrets").spec["replicas"], 2);
  assert.equal(chart.get("HorizontalPodAutoscaler", "warren-gateway").spec["maxReplicas"], 12);
  assert.ok(!chart.has("HorizontalPodAutoscaler", "warren-agent"));
  for (const service of ["agent", "plugin-host"]) {
    const query = chart.get("ScaledObject", `warren-${service}`).spec["triggers"]?.[0]?.["metadata"]?.["query"];
    assert.match(String(query), new RegExp(`rpc_server_active_requests.*mesh.*${service}`));
  }
});

test("three of each, strictly spread, over TLS", { skip }, async () => {
  const chart = await render("high-availability");
  for (const service of SERVICES) {
    const [first] = [...(podOf(deployment(chart, service))["topologySpreadConstraints"] ?? [])];
    assert.equal(first?.["whenUnsatisfiable"], "DoNotSchedule");
    assert.match(environmentOf(deployment(chart, service))["WARREN_NATS_URL"] ?? "", /^tls:\/\/.*,tls:\/\/.*,tls:\/\//);
  }
  const agent = podOf(deployment(chart, "agent"));
  assert.ok(
    JSON.stringify(agent["volumes"]).includes("warren-model-keys"),
    "a model's key is a file beside the credential",
  );
  assert.equal(environmentOf(deployment(chart, "secrets"))["WARREN_SECRETS_PASSPHRASE_FILE"], "/run/warren/passphrase");
  assert.ok(chart.has("ServiceMonitor", "warren"));
  assert.equal(chart.get("Ingress", "warren-gateway").spec["rules"]?.length, 1);
  const hosts = environmentOf(deployment(chart, "gateway"))["WARREN_HTTP_ALLOWED_HOSTS"] ?? "";
  assert.ok(hosts.split(",").includes("warren.example.com"));
});

test("locked down: nobody reaches the internet, and nothing runs as root", { skip }, async () => {
  const chart = await render("locked-down");
  for (const policy of chart.ofKind("NetworkPolicy")) assert.ok(!JSON.stringify(policy).includes("0.0.0.0/0"));
  assert.equal(chart.ofKind("DaemonSet").length, 0);
  assert.equal(podOf(deployment(chart, "plugin-host"))["runtimeClassName"], "kata");
  for (const manifest of workloads(chart)) assert.equal(podOf(manifest)["securityContext"]?.["runAsNonRoot"], true);
});

test("values that are wrong are refused, and the message names them", { skip }, async () => {
  for (const [setting, said] of [
    ["services.gateway.replcas=3", /replcas/],
    ["unknown=1", /unknown/],
    ["nats.replicas=2", /nats\/replicas/],
    ['redis.external.url="redis://:swordfish@redis"', /redis\/external\/url/],
    ['services.agent.env={"lower":"x"}', /lower/],
    ["services.auth.replicas=0", /replicas/],
    ["ingress.enabled=true", /hosts/],
    [
      'services.agent={"autoscaling":{"enabled":true},"keda":{"enabled":true}}',
      /services\.agent: autoscaling and keda/,
    ],
    ["services.plugin-host.sandbox.hostUsers=true", /procMount Unmasked needs hostUsers false/],
  ] as const) {
    const { code, stderr } = await template("default", setting);
    assert.notEqual(code, 0, setting);
    assert.match(stderr, said);
  }
});

test("NOTES.txt gives the next commands, with the release's own names", { skip }, async () => {
  const { stdout, stderr, code } = await run("helm", [
    ...["install", "mine", CHART, "--namespace", "agents", "--dry-run=client"],
    ...["--set", "image.tag=1.2.3"],
  ]);
  assert.equal(code, 0, stderr);
  for (const said of ["helm test mine --namespace agents", "port-forward service/mine-gateway", "mine-bootstrap"])
    assert.ok(stdout.includes(said), said);
});
