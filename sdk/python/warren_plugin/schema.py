"""Checks arguments of tools against their JSON Schema."""

import re

from .json_rpc import dump

_TYPES = {"string": "a string", "number": "a number", "integer": "an integer", "boolean": "a boolean",
          "object": "an object", "array": "an array", "null": "null"}


def schema_problems(schema, value, path=""):
    """Checks a value against the part of JSON Schema that arguments of tools are described with: type, enum, const,
    required, properties, additionalProperties, items, minItems, maxItems, minLength, maxLength, pattern, minimum,
    maximum. Other keywords say nothing here: a tool that needs them checks for itself.

    Returns what is wrong, one sentence for each field, which it names; empty when all is well."""
    name = path or "the arguments"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is_of_type(value, each) for each in types):
        return ["%s must be %s" % (name, " or ".join(_TYPES.get(each, each) for each in types))]
    if "enum" in schema and not any(_same(each, value) for each in schema["enum"]):
        return ["%s must be one of %s" % (name, ", ".join(dump(each) for each in schema["enum"]))]
    if "const" in schema and not _same(schema["const"], value):
        return ["%s must be %s" % (name, dump(schema["const"]))]
    if isinstance(value, str):
        problems = _range_problems(schema, "minLength", "maxLength", len(value), name + " must have", " characters")
        if "pattern" in schema and re.search(schema["pattern"], value) is None:
            problems.append("%s must match %s" % (name, schema["pattern"]))
        return problems
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _range_problems(schema, "minimum", "maximum", value, name + " must be", "")
    if isinstance(value, list):
        problems = _range_problems(schema, "minItems", "maxItems", len(value), name + " must have", " items")
        if isinstance(schema.get("items"), dict):
            for index, each in enumerate(value):
                problems += schema_problems(schema["items"], each, "%s[%d]" % (path, index))
        return problems
    return _object_problems(schema, value, path) if isinstance(value, dict) else []


def _object_problems(schema, value, path):
    def field(key):
        return path + "." + key if path else key

    properties = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    problems = ["%s is required" % field(key) for key in schema.get("required", []) if key not in value]
    for key, each in value.items():
        if key in properties:
            problems += schema_problems(properties[key], each, field(key))
        elif isinstance(rest, dict):
            problems += schema_problems(rest, each, field(key))
        elif rest is False:
            problems.append("%s is not known; there is %s" % (field(key), ", ".join(properties) or "none"))
    return problems


def _range_problems(schema, low, high, value, must, unit):
    if low in schema and value < schema[low]:
        return ["%s at least %s%s" % (must, schema[low], unit)]
    if high in schema and value > schema[high]:
        return ["%s at most %s%s" % (must, schema[high], unit)]
    return []


def _is_of_type(value, name):
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "integer":
        return is_number and (isinstance(value, int) or value.is_integer())
    if name == "number":
        return is_number
    kind = {"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}.get(name)
    return kind is not None and isinstance(value, kind)


def _same(left, right):
    """Equal as JSON, where true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right
