// The alert rules and dashboards that we ship.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

/** An alert of the rules. */
export interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string };
}

/** A file of rules. */
export interface RulesFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

/** A dashboard of Grafana. */
export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly targets: readonly { expr: string }[];
  }[];
}

/** An expression of a rule or of a panel, and where it stands. */
export interface Expression {
  readonly where: string;
  readonly expr: string;
}

const ROOT = new URL("../../", import.meta.url);
const DASHBOARDS = "deploy/observability/grafana/dashboards/";
/** Where Prometheus' configuration, its rules and their tests lie. */
export const PROMETHEUS = fileURLToPath(new URL("deploy/observability/prometheus/", ROOT));

/** A file of the project as text; its path is relative to the root. */
export const read = (path: string): string => readFileSync(new URL(path, ROOT), "utf8");

export const rulesFile = parse(read("deploy/observability/prometheus/rules/warren.yml")) as RulesFile;
export const rules = rulesFile.groups.flatMap((group) => group.rules);
export const dashboards = readdirSync(new URL(DASHBOARDS, ROOT)).map(
  (file) => JSON.parse(read(DASHBOARDS + file)) as Dashboard,
);
export const ruleExpressions: readonly Expression[] = rules.map(({ alert, expr }) => ({ where: alert, expr }));
export const dashboardExpressions: readonly Expression[] = dashboards.flatMap(({ title, panels }) =>
  panels.flatMap((panel) => panel.targets.map(({ expr }) => ({ where: `${title} / ${panel.title}`, expr }))),
);
