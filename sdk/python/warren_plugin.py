"""What authors of Warren plugins in Python import. One file, nothing but the standard library, Python 3.9 or newer.

    from warren_plugin import Plugin

    plugin = Plugin(name="greeter", version="1.0.0")

    @plugin.tool("greet", description="Greets a person by name.",
                 input_schema={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})
    def greet(args, ctx):
        return "Hello, " + args["name"] + "!"

    plugin.run()

`warren plugin pack` puts this file beside the entry point. To run a plugin straight from its folder, name the folder of
this file in PYTHONPATH.

A plugin speaks MCP over stdio (https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio), and
JSON-RPC 2.0 to its host on descriptor 4. `print` goes to stderr, the plugin's log: stdout belongs to the protocol.
"""

import fcntl
import json
import os
import queue
import re
import secrets
import signal
import socket
import stat
import sys
import threading
import time
import traceback

__all__ = ["Context", "HostError", "Plugin", "schema_problems"]

LATEST_VERSION = "2025-11-25"
# Earlier versions differ in nothing that is used here.
KNOWN_VERSIONS = {LATEST_VERSION, "2025-06-18", "2025-03-26", "2024-11-05"}
MAX_LINE_BYTES = 8 * 1024 * 1024
MAX_THREADS = 8
# How long calls in flight may go on once stdin has ended: enough for `printf ... | plugin`, too short to hold up a stop.
DRAIN_SECONDS = 1.0
# How long they may take to clean up once they are cancelled.
CLEAN_UP_SECONDS = 0.25
HOST_DESCRIPTOR = 4
SPANS_META_KEY = "dev.warren/spans"

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603


class HostError(Exception):
    """The host did not do what it was asked for. `reason` is a constant such as PERMISSION_DENIED or NOT_FOUND;
    UNAVAILABLE when there is no channel to the host, CANCELLED when the call has ended."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


class Context:
    """What a tool is run with, besides its arguments.

    `cancelled` is a threading.Event: set when the caller gave up or the plugin must stop. A long tool looks at it.
    `traceparent` is the W3C Trace Context of this call, or None.
    """

    def __init__(self, call_id, traceparent, channel, log):
        self.cancelled = threading.Event()
        self.traceparent = traceparent
        self._meta = {"dev.warren/call": call_id}
        if traceparent is not None:
            self._meta["traceparent"] = traceparent
        self._channel = channel
        self._log = log

    def log(self, *parts):
        """Writes a line to the plugin's log (stderr)."""
        self._log(*parts)

    def lease_secret(self, name):
        """Leases a secret: {"name", "value", "version", "expireTime"}. Needs the permission secrets:lease:<name>.
        Raises HostError."""
        return self._channel.request("host/secrets.lease", {"name": name, "_meta": self._meta}, self)

    def host_log(self, message, level="info"):
        """Writes to the plugin's log with a level: debug, info, warn or error. Without a channel to the host the line
        goes to stderr."""
        try:
            self._channel.notify("host/log", {"level": level, "message": message, "_meta": self._meta})
        except HostError:
            self._log("[%s] %s" % (level, message))

    def _cancel(self):
        self.cancelled.set()
        self._channel.forget(self)


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
        _Server(self).serve()


class _RpcError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class _Terminated(BaseException):
    """Raised in the main thread by SIGTERM, to leave the reading of stdin."""


class _Server:
    def __init__(self, plugin):
        self._plugin = plugin
        self._lock = threading.Lock()
        self._in_flight = {}
        self._answered = threading.Condition(self._lock)
        self._work = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._start_lock = threading.Lock()
        self._stop_lock = threading.Lock()
        self._stopped = False
        self._state = "new"
        self._channel = _HostChannel(self._host_handlers())

    def serve(self):
        self._take_over_stdio()
        signal.signal(signal.SIGTERM, self._terminated)
        if os.environ.get("WARREN_HOST_CHANNEL") == "1":
            self._channel.open()
        try:
            for line in _lines(self._stdin, self._too_long):
                self._receive(line)
        except (_Terminated, OSError):
            pass
        self._finish()

    def _take_over_stdio(self):
        """Keeps stdin and stdout for the protocol alone: prints, and programs that the plugin starts, get neither."""
        # Far up: a copy on descriptor 4 would look like a channel to the host.
        self._stdin = os.fdopen(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 10), "rb")
        self._stdout = os.fdopen(fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 10), "wb")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def _terminated(self, _signal, _frame):
        raise _Terminated()

    def _finish(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with self._lock:
            self._answered.wait_for(lambda: not self._in_flight, DRAIN_SECONDS)
            contexts = [context for context in self._in_flight.values() if context is not None]
        for context in contexts:
            context._cancel()
        with self._lock:
            self._answered.wait_for(lambda: not self._in_flight, CLEAN_UP_SECONDS)
        try:
            self._stop()
            code = 1 if self._state == "failed" else 0
        except Exception:
            _log("the plugin did not stop well:\n" + traceback.format_exc())
            code = 1
        sys.stderr.flush()
        # Not sys.exit: that would wait for tools that do not heed their cancellation.
        os._exit(code)

    def _stop(self):
        """Runs `stop`, the first time, and only if `start` has succeeded."""
        with self._stop_lock:
            if self._state != "started" or self._stopped:
                return
            self._stopped = True
            if self._plugin._hooks["stop"] is not None:
                self._plugin._hooks["stop"]()

    def _send(self, message):
        data = (_dump({"jsonrpc": "2.0", **message}) + "\n").encode()
        with self._lock:
            try:
                self._stdout.write(data)
                self._stdout.flush()
            except (OSError, ValueError):
                pass  # Nobody reads any more; the end of stdin follows.

    def _send_error(self, call_id, code, message):
        self._send({"id": call_id, "error": {"code": code, "message": message}})

    def _too_long(self):
        self._send_error(None, INVALID_REQUEST, "the line is longer than %d bytes" % MAX_LINE_BYTES)

    def _receive(self, line):
        try:
            message = _parse(line)
        except (ValueError, RecursionError):
            return self._send_error(None, PARSE_ERROR, "the line is not JSON")
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return self._send_error(None, INVALID_REQUEST, "the line is not a JSON-RPC 2.0 message")
        method, call_id = message.get("method"), message.get("id")
        if not isinstance(method, str):
            if "result" not in message and "error" not in message:
                self._send_error(call_id if _is_id(call_id) else None, INVALID_REQUEST, "method must be a string")
            return None
        params = message.get("params", {})
        if "id" not in message:
            return self._notified(method, params)
        if not _is_id(call_id):
            return self._send_error(None, INVALID_REQUEST, "id must be a string or a whole number")
        if not isinstance(params, dict):
            return self._send_error(call_id, INVALID_PARAMS, "params must be an object")
        return self._dispatch(call_id, method, params)

    def _notified(self, method, params):
        if method != "notifications/cancelled" or not isinstance(params, dict):
            return
        call_id = params.get("requestId")
        context = self._in_flight.get(call_id) if _is_id(call_id) else None
        if context is not None:
            context._cancel()

    def _dispatch(self, call_id, method, params):
        with self._lock:
            in_use = call_id in self._in_flight
        if in_use:
            # Answered with null: an answer with the id would be taken for that of the first request.
            return self._send_error(None, INVALID_REQUEST, "id %s is still in use" % json.dumps(call_id))
        if method == "ping":
            return self._send({"id": call_id, "result": {}})
        if method == "tools/list":
            return self._send({"id": call_id, "result": {"tools": [tool for tool, _ in self._plugin._tools.values()]}})
        if method not in ("initialize", "tools/call"):
            return self._send_error(call_id, METHOD_NOT_FOUND, "there is no method %s" % json.dumps(method[:100]))
        span = None
        context = None
        if method == "tools/call":
            meta = params.get("_meta")
            span = _begin_span(meta.get("traceparent") if isinstance(meta, dict) else None)
            context = Context(call_id, span.traceparent if span else None, self._channel, _log)
        with self._lock:
            self._in_flight[call_id] = context
        return self._run_in_thread(lambda: self._answer(call_id, method, params, context, span))

    def _run_in_thread(self, work):
        """The main thread never waits for a tool: pings and cancellations are read meanwhile."""
        with self._lock:
            if self._idle == 0 and self._threads < MAX_THREADS:
                self._threads += 1
                threading.Thread(target=self._work_on, daemon=True).start()
            else:
                self._idle -= 1
        self._work.put(work)

    def _work_on(self):
        while True:
            self._work.get()()
            with self._lock:
                self._idle += 1

    def _answer(self, call_id, method, params, context, span):
        try:
            if method == "initialize":
                reply = {"id": call_id, "result": self._initialize(params)}
            else:
                reply = {"id": call_id, "result": self._call(params, context, span)}
        except _RpcError as error:
            reply = {"id": call_id, "error": {"code": error.code, "message": str(error)}}
        except Exception as error:
            reply = {"id": call_id, "error": {"code": INTERNAL_ERROR, "message": str(error) or type(error).__name__}}
        # Who cancelled expects no answer.
        if context is None or not context.cancelled.is_set():
            self._send(reply)
        with self._lock:
            del self._in_flight[call_id]
            self._answered.notify()

    def _initialize(self, params):
        version = params.get("protocolVersion")
        if not isinstance(version, str):
            raise _RpcError(INVALID_PARAMS, "protocolVersion must be a string")
        self._start()
        result = {
            "protocolVersion": version if version in KNOWN_VERSIONS else LATEST_VERSION,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": self._plugin.name, "version": self._plugin.version},
        }
        if self._plugin.instructions is not None:
            result["instructions"] = self._plugin.instructions
        return result

    def _start(self):
        """Runs `start`, the first time, whoever asks first."""
        with self._start_lock:
            if self._state == "failed":
                raise _RpcError(INTERNAL_ERROR, "the plugin did not start")
            if self._state == "started":
                return
            try:
                if self._plugin._hooks["start"] is not None:
                    self._plugin._hooks["start"]()
                self._state = "started"
            except Exception:
                self._state = "failed"
                _log("the plugin did not start:\n" + traceback.format_exc())
                raise

    def _call(self, params, context, span):
        name, args = params.get("name"), params.get("arguments", {})
        entry = self._plugin._tools.get(name) if isinstance(name, str) else None
        if entry is None:
            raise _RpcError(INVALID_PARAMS, "there is no tool %s" % _dump(name)[:150])
        if not isinstance(args, dict):
            raise _RpcError(INVALID_PARAMS, "arguments must be an object")
        self._start()
        if context.cancelled.is_set():
            return {}  # It waited for a thread longer than its caller for it, and nobody is answered.
        result = _run_tool(name, entry, args, context)
        if span is not None:
            report = span.end("execute_tool " + name, "error" if result.get("isError") else "ok")
            result["_meta"] = {SPANS_META_KEY: [report]}
        return result

    def _configure(self, config):
        if not isinstance(config, dict):
            return
        changed = self._plugin._hooks["config_changed"]
        if self._state == "started" and changed is not None:
            changed(config)
        self._plugin.config = config

    def _host_handlers(self):
        hooks = self._plugin._hooks

        def start(params):
            self._configure(params.get("config"))
            self._start()

        def restore(params):
            if hooks["restore_state"] is not None:
                hooks["restore_state"](params.get("state"))

        return {
            "plugin/start": start,
            "plugin/stop": lambda _: self._stop(),
            "plugin/health": lambda _: hooks["health"]() if hooks["health"] else {"status": "healthy"},
            "plugin/config": lambda params: self._configure(params.get("config")),
            "plugin/saveState": lambda _: {"state": hooks["save_state"]() if hooks["save_state"] else None},
            "plugin/restoreState": restore,
        }


def _run_tool(name, entry, args, context):
    """Bad arguments and what the tool raises are results too, with isError, as MCP asks (2025-11-25, server/tools,
    error handling): a model reads them and mends its call."""
    tool, function = entry
    try:
        problems = schema_problems(tool["inputSchema"], args)
        if problems:
            return _failure("%s: %s" % (name, "; ".join(problems[:5])))
        result = _to_result(function(args, context))
        _dump(result)  # Here, and not when it is sent: an answer that is no JSON is the tool's error.
        return result
    except Exception as error:
        if not context.cancelled.is_set():
            _log("%s failed:\n%s" % (name, traceback.format_exc()))
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
        return {"content": [{"type": "text", "text": _dump(output)}], "structuredContent": output}
    return {"content": [{"type": "text", "text": _dump(output)}]}


class _HostChannel:
    """Host calls: newline-delimited JSON-RPC 2.0 over a socket, opened when it is first needed."""

    def __init__(self, handlers):
        self._handlers = handlers
        self._lock = threading.Lock()
        self._socket = None
        self._lost = False
        self._last_id = 0
        self._pending = {}

    def open(self):
        with self._lock:
            if self._lost:
                raise HostError("UNAVAILABLE", "the channel to the host is closed")
            if self._socket is None:
                self._socket = _connect_host()
                threading.Thread(target=self._read, daemon=True).start()
            return self._socket

    def request(self, method, params, context):
        self.open()
        answer = queue.SimpleQueue()
        with self._lock:
            self._last_id += 1
            call_id = self._last_id
            self._pending[call_id] = (context, answer)
        try:
            if context.cancelled.is_set():
                raise HostError("CANCELLED", method + ": the call has ended")
            self._write({"id": call_id, "method": method, "params": params})
            outcome = answer.get()
        finally:
            with self._lock:
                self._pending.pop(call_id, None)
        if isinstance(outcome, HostError):
            raise outcome
        return outcome

    def notify(self, method, params):
        self.open()
        self._write({"method": method, "params": params})

    def forget(self, context):
        """Ends the waiting of a call that was cancelled."""
        self._fail(HostError("CANCELLED", "the call has ended"), lambda each: each is context)

    def _fail(self, error, concerns):
        with self._lock:
            answers = [answer for context, answer in self._pending.values() if concerns(context)]
        for answer in answers:
            answer.put(error)

    def _write(self, message):
        data = (_dump({"jsonrpc": "2.0", **message}) + "\n").encode()
        with self._lock:
            try:
                self._socket.sendall(data)
            except OSError:
                raise HostError("UNAVAILABLE", "the channel to the host is closed") from None

    def _read(self):
        try:
            for line in _lines(self._socket.makefile("rb"), lambda: None):
                try:
                    self._receive(_parse(line))
                except (ValueError, RecursionError):
                    continue
        except (OSError, HostError):
            pass
        with self._lock:
            self._lost = True
        self._fail(HostError("UNAVAILABLE", "the channel to the host is closed"), lambda _: True)

    def _receive(self, message):
        if not isinstance(message, dict):
            return
        if isinstance(message.get("method"), str):
            return self._serve(message)
        with self._lock:
            pending = self._pending.get(message.get("id")) if _is_id(message.get("id")) else None
        if pending is None:
            return
        error = message.get("error")
        if isinstance(error, dict):
            data = error.get("data")
            reason = data.get("reason") if isinstance(data, dict) else None
            pending[1].put(HostError(reason or "INTERNAL", str(error.get("message", "the host refused"))))
        else:
            pending[1].put(message.get("result"))

    def _serve(self, message):
        call_id, params = message.get("id"), message.get("params")
        handler = self._handlers.get(message["method"])
        if handler is None:
            reply = {"error": {"code": METHOD_NOT_FOUND, "message": "the plugin has no method " + message["method"]}}
        else:
            try:
                result = handler(params if isinstance(params, dict) else {})
                reply = {"result": {} if result is None else result}
            except Exception as error:
                reply = {"error": {"code": INTERNAL_ERROR, "message": str(error) or type(error).__name__}}
        if _is_id(call_id):
            self._write({"id": call_id, **reply})


def _connect_host():
    if not _HAS_HOST_CHANNEL:
        raise HostError("UNAVAILABLE", "this plugin has no channel to the host: name what it needs under permissions "
                        "in plugin.json, such as secrets:lease:<name>")
    return socket.socket(fileno=HOST_DESCRIPTOR)


def _is_socket(descriptor):
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


# Looked at before the plugin opens anything, which might be given the same number.
_HAS_HOST_CHANNEL = _is_socket(HOST_DESCRIPTOR)


class _Span:
    def __init__(self, trace_id, parent, flags):
        self._id, self._parent = secrets.token_hex(8), parent
        self._start = time.time_ns()
        self.traceparent = "00-%s-%s-%s" % (trace_id, self._id, flags)

    def end(self, name, status):
        return {"spanId": self._id, "parentSpanId": self._parent, "name": name, "startTimeUnixNano": str(self._start),
                "endTimeUnixNano": str(time.time_ns()), "status": status}


def _begin_span(traceparent):
    """A span below the caller's; None where the caller sent no valid traceparent (W3C Trace Context, level 1)."""
    match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", traceparent) if isinstance(traceparent, str) else None
    if match is None or set(match[1]) == {"0"} or set(match[2]) == {"0"}:
        return None
    return _Span(match[1], match[2], match[3])


def _lines(stream, too_long):
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


def _parse(line):
    def refuse(name):
        raise ValueError(name + " is not JSON")

    return json.loads(line.decode("utf-8"), parse_constant=refuse)


def _dump(value):
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _is_id(value):
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _log(*parts):
    sys.stderr.write(" ".join(str(part) for part in parts) + "\n")
    sys.stderr.flush()


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
        return ["%s must be one of %s" % (name, ", ".join(_dump(each) for each in schema["enum"]))]
    if "const" in schema and not _same(schema["const"], value):
        return ["%s must be %s" % (name, _dump(schema["const"]))]
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
