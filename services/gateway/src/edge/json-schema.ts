// Messages of the contract as JSON Schema (draft 2020-12), with their field rules.
import { type DescField, type DescMessage, getOption, ScalarType } from "@bufbuild/protobuf";
import { registry } from "@warren/contract";
import type { FieldRules } from "@warren/proto/warren/options/v1/options";

export type Schema = Readonly<Record<string, unknown>>;

const fieldOption = registry.getExtension("warren.options.v1.field");

const wellKnown: Readonly<Record<string, Schema>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9]+(\\.[0-9]{1,9})?s$" },
  "google.protobuf.Struct": { type: "object" },
  "google.protobuf.Value": {},
  "google.protobuf.ListValue": { type: "array" },
  "google.protobuf.Empty": { type: "object" },
  "google.protobuf.Any": { type: "object", properties: { "@type": { type: "string" } } },
};

const integers: Readonly<Record<number, Schema>> = {
  [ScalarType.INT32]: { type: "integer", format: "int32" },
  [ScalarType.SINT32]: { type: "integer", format: "int32" },
  [ScalarType.SFIXED32]: { type: "integer", format: "int32" },
  [ScalarType.UINT32]: { type: "integer", minimum: 0, maximum: 0xffff_ffff },
  [ScalarType.FIXED32]: { type: "integer", minimum: 0, maximum: 0xffff_ffff },
};

/** Collects the messages that schemas refer to. */
export class SchemaCollector {
  readonly #schemas = new Map<string, Schema>();

  /** A reference to a message, whose schema (and those it refers to) is among {@link schemas} from then on. */
  reference(type: DescMessage): Schema {
    const known = wellKnown[type.typeName];
    if (known) return known;
    if (!this.#schemas.has(type.typeName)) {
      // Set before its fields are looked at: a message may hold itself.
      this.#schemas.set(type.typeName, {});
      this.#schemas.set(type.typeName, this.object(type, type.fields));
    }
    return { $ref: `#/components/schemas/${type.typeName}` };
  }

  /** An object with some of the fields of a message. */
  object(type: DescMessage, fields: readonly DescField[]): Schema {
    const required = fields.filter((field) => rulesOf(field)?.required).map((field) => field.jsonName);
    return {
      type: "object",
      title: type.name,
      properties: Object.fromEntries(fields.map((field) => [field.jsonName, this.field(field)])),
      ...(required.length ? { required } : {}),
    };
  }

  /** The schema of one field. */
  field(field: DescField): Schema {
    const rules = rulesOf(field);
    const most = rules?.maxItems ? rules.maxItems : undefined;
    if (field.fieldKind === "list")
      return { type: "array", items: this.#single(field, rules), ...(most === undefined ? {} : { maxItems: most }) };
    if (field.fieldKind === "map")
      return {
        type: "object",
        additionalProperties: this.#single(field, rules),
        ...(most === undefined ? {} : { maxProperties: most }),
      };
    return this.#single(field, rules);
  }

  /** By name, in alphabetical order. */
  get schemas(): Record<string, Schema> {
    return Object.fromEntries([...this.#schemas].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #single(field: DescField, rules: FieldRules | undefined): Schema {
    if (field.message) return this.reference(field.message);
    if (field.enum) return { type: "string", enum: field.enum.values.map((value) => value.name) };
    return { ...scalarSchema(field.scalar ?? ScalarType.STRING), ...ruleKeywords(rules) };
  }
}

function rulesOf(field: DescField): FieldRules | undefined {
  return fieldOption && (getOption(field, fieldOption) as unknown as FieldRules | undefined);
}

function scalarSchema(scalar: ScalarType): Schema {
  if (scalar === ScalarType.STRING) return { type: "string" };
  if (scalar === ScalarType.BOOL) return { type: "boolean" };
  if (scalar === ScalarType.BYTES) return { type: "string", contentEncoding: "base64" };
  if (scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT) return { type: "number" };
  // 64-bit numbers are text in protobuf's JSON: JavaScript's own are not wide enough.
  return integers[scalar] ?? { type: "string", pattern: "^-?[0-9]{1,20}$" };
}

function ruleKeywords(rules: FieldRules | undefined): Schema {
  if (!rules) return {};
  const { pattern, minLength, maxLength, minimum, maximum, required } = rules;
  // A rule holds for values that are not empty; an optional field may always be.
  const whole = pattern && (required ? `^(?:${pattern})$` : `^(?:${pattern})?$`);
  return {
    ...(whole ? { pattern: whole } : {}),
    ...(minLength && required ? { minLength } : {}),
    ...(maxLength ? { maxLength } : {}),
    ...(minimum === undefined ? {} : { minimum }),
    ...(maximum === undefined ? {} : { maximum }),
  };
}
