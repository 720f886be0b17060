// Field rules of the contracts, compiled once for each message and enforced on decoded messages, before any handler.
import { type DescField, type DescMessage, getOption } from "@bufbuild/protobuf";
import type { FieldRules } from "@warren/proto/warren/options/v1/options";
import { extension, registry } from "./registry.ts";

/** One value that breaks the contract. */
export interface FieldViolation {
  /** The field as JSON names it, dotted where nested: `mcp.commandLine`, `grants[2]`. */
  readonly field: string;
  /** What is wrong and what would be right. Never holds the value. */
  readonly description: string;
}

type Report = (description: string, suffix?: string) => void;
type Check = (value: unknown, report: Report) => void;
type MessageCheck = (message: Readonly<Record<string, unknown>>, path: string, found: FieldViolation[]) => void;

const fieldOption = extension("warren.options.v1.field");
const compiled = new WeakMap<DescMessage, MessageCheck>();

/** What in `message` (of the type named `typeName`, as ts-proto or protobuf-es decoded it) breaks the contract; empty when nothing does. */
export function violations(typeName: string, message: object): FieldViolation[] {
  const descriptor = registry.getMessage(typeName);
  if (!descriptor) throw new Error(`No contract has the message ${typeName}: run "npm run proto"`);
  return violationsOf(descriptor, message);
}

/** The same for a message whose descriptor is at hand. */
export function violationsOf(descriptor: DescMessage, message: object): FieldViolation[] {
  const found: FieldViolation[] = [];
  messageCheck(descriptor)(message as Record<string, unknown>, "", found);
  return found;
}

function messageCheck(descriptor: DescMessage): MessageCheck {
  const known = compiled.get(descriptor);
  if (known) return known;
  // Registered before its fields are looked at: a message may hold itself.
  let checks: MessageCheck[] = [];
  const check: MessageCheck = (message, path, found) => {
    for (const each of checks) each(message, path, found);
  };
  compiled.set(descriptor, check);
  checks = compileFields(descriptor);
  return check;
}

function compileFields(descriptor: DescMessage): MessageCheck[] {
  return descriptor.fields.flatMap((field) => {
    const check = compileField(field);
    if (!check) return [];
    return (message: Readonly<Record<string, unknown>>, path: string, found: FieldViolation[]) =>
      check(read(message, field), path + field.jsonName, found);
  });
}

/** A field of a oneof lives under the oneof's name: `{ $case, value }` in ts-proto, `{ case, value }` in protobuf-es. */
function read(message: Readonly<Record<string, unknown>>, field: DescField): unknown {
  if (!field.oneof) return message[field.localName];
  const chosen = message[field.oneof.localName] as { $case?: string; case?: string; value?: unknown } | undefined;
  return (chosen?.$case ?? chosen?.case) === field.localName ? chosen?.value : undefined;
}

function compileField(field: DescField): ((value: unknown, path: string, found: FieldViolation[]) => void) | undefined {
  const rules = getOption(field, fieldOption) as unknown as FieldRules | undefined;
  const own = rules && ruleChecks(rules, field.fieldKind);
  const nested = field.message?.typeName.startsWith("google.") ? undefined : field.message;
  if (!own?.length && !nested) return undefined;
  return (value, path, found) => {
    for (const check of own ?? [])
      check(value, (description, suffix = "") => found.push({ field: path + suffix, description }));
    if (!nested || value === undefined || value === null) return;
    if (Array.isArray(value)) value.forEach((item, i) => messageCheck(nested)(item, `${path}[${i}].`, found));
    else if (field.fieldKind === "message") messageCheck(nested)(value as Record<string, unknown>, `${path}.`, found);
    else
      for (const [key, item] of entriesOf(value))
        messageCheck(nested)(item as Record<string, unknown>, `${path}[${key}].`, found);
  };
}

function ruleChecks(rules: FieldRules, kind: DescField["fieldKind"]): Check[] {
  const scalar = scalarChecks(rules);
  const checks: Check[] = [];
  if (rules.required)
    checks.push((value, report) => {
      const missing = value === undefined || value === null || value === "" || value === 0 || value === 0n;
      if (missing || (Array.isArray(value) && value.length === 0)) report("is required");
    });
  if (rules.maxItems)
    checks.push((value, report) => {
      const items = kind === "map" ? entriesOf(value) : value;
      if (Array.isArray(items) && items.length > rules.maxItems) report(`has more than ${rules.maxItems} entries`);
    });
  if (kind === "list")
    checks.push((value, report) => {
      if (!Array.isArray(value)) return;
      value.forEach((item, i) => scalar.forEach((check) => check(item, (text) => report(text, `[${i}]`))));
    });
  else checks.push(...scalar);
  return checks;
}

function scalarChecks(rules: FieldRules): Check[] {
  const checks: Check[] = [];
  const { minLength, maxLength, minimum, maximum } = rules;
  const pattern = rules.pattern && new RegExp(`^(?:${rules.pattern})$`, "u");
  if (maxLength || minLength || pattern)
    checks.push((value, report) => {
      if (!(typeof value === "string" || value instanceof Uint8Array) || value.length === 0) return;
      if (maxLength && value.length > maxLength) return report(`is longer than ${maxLength}`);
      if (value.length < minLength) return report(`is shorter than ${minLength}`);
      // Length first: a pattern never meets more text than the contract allows.
      if (pattern && typeof value === "string" && !pattern.test(value))
        report(`must be ${rules.patternHint || `of the form ${rules.pattern}`}`);
    });
  if (minimum !== undefined)
    checks.push((value, report) => {
      // Written so that NaN, which is neither below nor above, does not pass.
      if (isNumber(value) && !(value >= minimum)) report(`must be at least ${minimum}`);
    });
  if (maximum !== undefined)
    checks.push((value, report) => {
      if (isNumber(value) && !(value <= maximum)) report(`must be at most ${maximum}`);
    });
  return checks;
}

function isNumber(value: unknown): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

/** The entries of a map field. */
function entriesOf(value: unknown): [string, unknown][] {
  return Object.entries((value ?? {}) as Record<string, unknown>);
}
