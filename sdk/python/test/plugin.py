"""The twin of packages/plugin-sdk/test/support/plugin.ts: conformance.test.ts expects the same of both."""

import json
import os
import sys

from warren_plugin import Plugin

ANY = {"type": "object"}


def start():
    if os.environ.get("FAIL_START") == "1":
        raise RuntimeError("no luck today")
    print("started with", json.dumps(plugin.config, separators=(",", ":")), flush=True)


def stop():
    print("stopped", flush=True)


def health():
    return {"status": "degraded", "message": "a fixture"}


def config_changed(config):
    if config.get("bad") is True:
        raise ValueError("that configuration is bad")


def save_state():
    return {"count": 3}


def restore_state(state):
    print("restored " + json.dumps(state, separators=(",", ":")), flush=True)


plugin = Plugin(name="fixture", version="1.2.3", instructions="Use it in tests.", start=start, stop=stop, health=health,
                config_changed=config_changed, save_state=save_state, restore_state=restore_state)


@plugin.tool("text", title="Text", description="Text.", input_schema=ANY)
def text(args, ctx):
    return "plain"


@plugin.tool("structured", description="Structured.", input_schema=ANY)
def structured(args, ctx):
    return {"args": args}


@plugin.tool("blocks", description="Blocks.", input_schema=ANY)
def blocks(args, ctx):
    return [{"type": "text", "text": "one"}]


@plugin.tool("nothing", description="Nothing.", input_schema=ANY)
def nothing(args, ctx):
    return None


@plugin.tool("fail", description="Fails.", input_schema=ANY)
def fail(args, ctx):
    raise RuntimeError("it is broken")


@plugin.tool("unsendable", description="Not JSON.", input_schema=ANY)
def unsendable(args, ctx):
    return {"value": float("nan")}


@plugin.tool("print", description="Prints.", input_schema=ANY)
def prints(args, ctx):
    print("printed")
    os.write(1, b"written to descriptor 1\n")
    return "done"


@plugin.tool("wait", description="Waits until it is cancelled.", input_schema=ANY)
def wait(args, ctx):
    ctx.log("waiting")
    ctx.cancelled.wait()
    ctx.log("was cancelled")
    return "late"


@plugin.tool("lease", description="Leases a secret.",
             input_schema={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})
def lease(args, ctx):
    ctx.host_log("wants " + args["name"], "warn")
    return {"lease": ctx.lease_secret(args["name"])}


@plugin.tool("trace", description="Trace.", input_schema=ANY)
def trace(args, ctx):
    return ctx.traceparent or "none"


@plugin.tool("checked", description="Checks.", input_schema={
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "on": {"type": ["boolean", "null"]},
        "list": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
        "inner": {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"], "additionalProperties": False},
    },
    "required": ["name"],
    "additionalProperties": False,
})
def checked(args, ctx):
    return "fine"


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)
    plugin.run()
