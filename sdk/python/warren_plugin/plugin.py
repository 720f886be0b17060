"""A plugin as its author describes it."""

import re

from .server import Server


class Plugin:
    """A plugin. `name` and `version` are shown to MCP clients; the mesh goes by plugin.json. `instructions` say how a
    model should use the tools together.

    `start`, `stop` and `health` are functions without arguments, `config_changed` takes the new configuration; all
    are optional. Raising in `start` fails the start; raising in `config_changed` rejects the configuration.
    """

    def __init__(self, name="warren-plugin", version="0.0.0", instructions=None,
                 start=None, stop=None, health=None, config_changed=None, save_state=None, restore_state=None):
        self.name, self.version, self.instructions = name, version, instructions
        self.config = {}
        self._hooks = {"start": start, "stop": stop, "health": health, "config_changed": config_changed,
                       "save_state": save_state, "restore_state": restore_state}
        self._tools = {}

    def tool(self, name, description, input_schema, title=None, output_schema=None, annotations=None):
        """Makes a function a tool. It is called with the checked arguments, a dict, and a Context. It returns text, a
        dict (structured content, and as JSON text), or a list of MCP content blocks. What it raises reaches the caller
        as a tool error with the exception's message, so that a model can mend its arguments and try again."""
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name):
            raise ValueError("tool %r: a name is 1 to 128 letters, digits and _ . -" % name)
        if not description.strip():
            raise ValueError("tool %s: it needs a description to be chosen by" % name)
        if input_schema.get("type") != "object":
            raise ValueError('tool %s: input_schema must have type "object"' % name)
        listed = {"name": name, "title": title, "description": description, "inputSchema": input_schema,
                  "outputSchema": output_schema, "annotations": annotations}

        def register(function):
            self._tools[name] = ({key: value for key, value in listed.items() if value is not None}, function)
            return function

        return register

    def run(self):
        """Serves the tools until stdin ends or the process is asked to end, then runs `stop` and exits: with 1 when
        `start` or `stop` failed. Does not return."""
        Server(self).serve()
