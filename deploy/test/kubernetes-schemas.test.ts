import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { CHART, KUBERNETES, VALUE_SETS } from "./support/chart.ts";
import { type Ended, missing, ROOT, run } from "./support/tools.ts";

const skip = missing("helm") || missing("kubectl-validate");
const CRDS = join(ROOT, "deploy/test/crds");

/** Validates manifests strictly against the schemas of one version of Kubernetes, and those of KEDA and the Prometheus operator. */
async function validate(t: TestContext, version: string, files: Readonly<Record<string, string>>): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), "warren-manifests-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, `${name}.yaml`), text);
  const minor = version.split(".").slice(0, 2).join(".");
  // No configuration: it must not ask a cluster that happens to be there.
  const env = { KUBECONFIG: "/dev/null" };
  return run("kubectl-validate", [folder, "--version", minor, "--local-crds", CRDS], { env });
}

for (const version of Object.values(KUBERNETES))
  test(`every value set is valid on Kubernetes ${version}`, { skip }, async (t) => {
    const rendered = await Promise.all(
      Object.entries(VALUE_SETS).map(async ([name, file]) => {
        const args = ["template", "warren", CHART, "--namespace", "mesh", "--values", file, "--kube-version", version];
        const { code, stdout, stderr } = await run("helm", args);
        assert.equal(code, 0, stderr);
        return [name, stdout] as const;
      }),
    );
    const { code, stdout, stderr } = await validate(t, version, Object.fromEntries(rendered));
    assert.equal(code, 0, `${stdout}\n${stderr}`);
  });

test(
  "the validation is strict: an unknown field, a wrong type and an unknown kind are refused",
  { skip },
  async (t) => {
    const wrong = {
      field: "apiVersion: v1\nkind: Service\nmetadata: { name: a }\nspec: { prots: [] }\n",
      type: "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\nspec: { replicas: many, selector: {}, template: {} }\n",
      kind: "apiVersion: v1\nkind: Servise\nmetadata: { name: a }\n",
      custom:
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: { name: a }\nspec: { scaleTargetRef: { name: a }, triggers: [], minReplicas: 1 }\n",
    };
    for (const [name, text] of Object.entries(wrong)) {
      const { code, stdout, stderr } = await validate(t, KUBERNETES.newest, { [name]: text });
      assert.notEqual(code, 0, `${name}: ${stdout}${stderr}`);
    }
  },
);
