// What a PromQL expression names, read from its syntax tree.
import assert from "node:assert/strict";
import { parser } from "@prometheus-io/lezer-promql";

type SyntaxNode = ReturnType<typeof parser.parse>["topNode"];

/** A metric with what its labels must be: `up{job="warren"}`. */
export interface Selector {
  readonly metric: string;
  /** Whether the labels of a series are meant. */
  readonly matches: (labels: Readonly<Record<string, string>>) => boolean;
  /** As it is written. */
  readonly text: string;
}

/** The metrics that an expression names. @throws AssertionError when it is no PromQL. */
export function metricsIn(expr: string): string[] {
  return nodesOf(expr, "VectorSelector").map(({ node, text }) => selectorOf(node, text).metric);
}

/** What an expression counts over a time: the selectors of `rate(…[5m])`, `increase(…[15m])` and the like. */
export function countedIn(expr: string): Selector[] {
  return nodesOf(expr, "MatrixSelector").flatMap(({ node, text }) =>
    node.getChildren("VectorSelector").map((selector) => selectorOf(selector, text)),
  );
}

/** An expression of a dashboard as Prometheus takes it. */
export function withoutVariables(expr: string): string {
  return expr.replaceAll("$__rate_interval", "1m");
}

function nodesOf(expr: string, type: string): { node: SyntaxNode; text: string }[] {
  const text = withoutVariables(expr);
  const found: { node: SyntaxNode; text: string }[] = [];
  parser.parse(text).iterate({
    enter: (at) => {
      assert.ok(!at.type.isError, `no PromQL at ${at.from}: ${expr}`);
      if (at.type.name === type) found.push({ node: at.node, text });
    },
  });
  return found;
}

function selectorOf(node: SyntaxNode, text: string): Selector {
  const read = (part: SyntaxNode | null): string => (part === null ? "" : text.slice(part.from, part.to));
  const matchers = (node.getChild("LabelMatchers")?.getChildren("UnquotedLabelMatcher") ?? []).map((matcher) => ({
    label: read(matcher.getChild("LabelName")),
    holds: matcherOf(read(matcher.getChild("MatchOp")), JSON.parse(read(matcher.getChild("StringLiteral"))) as string),
  }));
  return {
    metric: read(node.getChild("Identifier")),
    matches: (labels) => matchers.every(({ label, holds }) => holds(labels[label] ?? "")),
    text: read(node),
  };
}

function matcherOf(operator: string, value: string): (text: string) => boolean {
  const whole = new RegExp(`^(?:${value})$`);
  switch (operator) {
    case "=":
      return (text) => text === value;
    case "!=":
      return (text) => text !== value;
    case "=~":
      return (text) => whole.test(text);
    case "!~":
      return (text) => !whole.test(text);
    default:
      throw new Error(`${operator} is no operator of a label matcher`);
  }
}
