"""The text plugin: word_count, reverse_text, change_case, slugify."""

import text_tools
from warren_plugin import Plugin

TEXT = {"type": "string", "maxLength": 1000000}
READ_ONLY = {"readOnlyHint": True, "openWorldHint": False}

plugin = Plugin(name="text", version="0.1.0")


@plugin.tool(
    "word_count",
    title="Word count",
    description="Count the words of a text, and its characters, lines and sentences: how many words, how long is it.",
    input_schema={
        "type": "object",
        "properties": {"text": {**TEXT, "description": "The text to count."}},
        "required": ["text"],
        "additionalProperties": False,
    },
    output_schema={
        "type": "object",
        "properties": {
            key: {"type": "integer"} for key in ("words", "characters", "charactersWithoutSpaces", "lines", "sentences")
        },
        "required": ["words", "characters", "charactersWithoutSpaces", "lines", "sentences"],
    },
    annotations=READ_ONLY,
)
def word_count(args, ctx):
    return text_tools.count(args["text"])


@plugin.tool(
    "reverse_text",
    title="Reverse text",
    description="Reverse a text, writing it backwards: back to front by characters, by words or by lines.",
    input_schema={
        "type": "object",
        "properties": {
            "text": {**TEXT, "description": "The text to reverse."},
            "by": {"type": "string", "enum": ["characters", "words", "lines"], "description": "characters when left out."},
        },
        "required": ["text"],
        "additionalProperties": False,
    },
    annotations=READ_ONLY,
)
def reverse_text(args, ctx):
    return text_tools.reverse(args["text"], args.get("by", "characters"))


@plugin.tool(
    "change_case",
    title="Change case",
    description="Change the case of a text to upper, lower, title, sentence, camel, snake or kebab case.",
    input_schema={
        "type": "object",
        "properties": {
            "text": {**TEXT, "description": "The text to change."},
            "case": {"type": "string", "enum": list(text_tools.CASES), "description": "The case to give it."},
        },
        "required": ["text", "case"],
        "additionalProperties": False,
    },
    annotations=READ_ONLY,
)
def change_case(args, ctx):
    return text_tools.change_case(args["text"], args["case"])


@plugin.tool(
    "slugify",
    title="Slugify",
    description="Make a slug of a title: lower-case ASCII words joined by hyphens, for web addresses and file names.",
    input_schema={
        "type": "object",
        "properties": {
            "text": {**TEXT, "description": "The title."},
            "separator": {"type": "string", "enum": ["-", "_", "."], "description": "Between words; a hyphen when left out."},
            "maxLength": {"type": "integer", "minimum": 1, "maximum": 200, "description": "80 when left out."},
        },
        "required": ["text"],
        "additionalProperties": False,
    },
    annotations=READ_ONLY,
)
def slugify(args, ctx):
    return text_tools.slugify(args["text"], args.get("separator", "-"), int(args.get("maxLength", 80)))


if __name__ == "__main__":
    plugin.run()
