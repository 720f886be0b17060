"""JSON-RPC 2.0 by lines, as MCP over stdio and the channel to the host speak it."""

import json
import sys

MAX_LINE_BYTES = 8 * 1024 * 1024

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603


class RpcError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def lines(stream, too_long):
    """Lines without their ends, holding at most MAX_LINE_BYTES of one. Empty lines are skipped."""
    while True:
        line = stream.readline(MAX_LINE_BYTES + 1)
        if not line:
            return
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE_BYTES)
            too_long()
        elif line.strip():
            yield line


def parse(line):
    def refuse(name):
        raise ValueError(name + " is not JSON")

    return json.loads(line.decode("utf-8"), parse_constant=refuse)


def dump(value):
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def is_id(value):
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def log(*parts):
    sys.stderr.write(" ".join(str(part) for part in parts) + "\n")
    sys.stderr.flush()
