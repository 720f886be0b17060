"""Runs a tool, and makes a result of whatever comes of it."""

import traceback

from .json_rpc import dump, log
from .schema import schema_problems


def run_tool(name, entry, args, context):
    """Bad arguments and what the tool raises are results too, with isError, as MCP asks (2025-11-25, server/tools,
    error handling): a model reads them and mends its call."""
    tool, function = entry
    try:
        problems = schema_problems(tool["inputSchema"], args)
        if problems:
            return _failure("%s: %s" % (name, "; ".join(problems[:5])))
        result = _to_result(function(args, context))
        dump(result)  # Here, and not when it is sent: an answer that is no JSON is the tool's error.
        return result
    except Exception as error:
        if not context.cancelled.is_set():
            log("%s failed:\n%s" % (name, traceback.format_exc()))
        return _failure(str(error) or "%s failed: %s" % (name, type(error).__name__))


def _failure(message):
    return {"content": [{"type": "text", "text": message}], "isError": True}


def _to_result(output):
    if output is None:
        return {"content": []}
    if isinstance(output, str):
        return {"content": [{"type": "text", "text": output}]}
    if isinstance(output, list):
        if not all(isinstance(block, dict) and isinstance(block.get("type"), str) for block in output):
            raise TypeError("a tool that returns a list must return content blocks, each with a type")
        return {"content": output}
    if isinstance(output, dict):
        return {"content": [{"type": "text", "text": dump(output)}], "structuredContent": output}
    return {"content": [{"type": "text", "text": dump(output)}]}
