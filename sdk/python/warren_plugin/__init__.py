"""What authors of Warren plugins in Python import. Nothing but the standard library, Python 3.9 or newer.

    from warren_plugin import Plugin

    plugin = Plugin(name="greeter", version="1.0.0")

    @plugin.tool("greet", description="Greets a person by name.",
                 input_schema={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})
    def greet(args, ctx):
        return "Hello, " + args["name"] + "!"

    plugin.run()

`warren plugin pack` puts this package beside the entry point. To run a plugin straight from its folder, name the folder
where this package lies in PYTHONPATH.

A plugin speaks MCP over stdio (https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio), and
JSON-RPC 2.0 to its host on descriptor 4. `print` goes to stderr, the plugin's log: stdout belongs to the protocol.
"""

from .context import Context
from .host_channel import HostError
from .plugin import Plugin
from .schema import schema_problems

__all__ = ["Context", "HostError", "Plugin", "schema_problems"]
