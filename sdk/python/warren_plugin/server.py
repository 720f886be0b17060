"""Serves a plugin's tools over MCP on stdio."""

import fcntl
import json
import os
import queue
import signal
import sys
import threading
import traceback

from .context import Context
from .host_channel import HostChannel
from .json_rpc import (INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, MAX_LINE_BYTES, METHOD_NOT_FOUND, PARSE_ERROR,
                       RpcError, dump, is_id, lines, log, parse)
from .lifecycle import Lifecycle
from .span import SPANS_META_KEY, begin_span
from .tool import run_tool

LATEST_VERSION = "2025-11-25"
# Earlier versions differ in nothing that is used here.
KNOWN_VERSIONS = {LATEST_VERSION, "2025-06-18", "2025-03-26", "2024-11-05"}
MAX_THREADS = 8
# How long calls in flight may go on once stdin has ended: enough for `printf ... | plugin`, too short to hold up a stop.
DRAIN_SECONDS = 1.0
# How long they may take to clean up once they are cancelled.
CLEAN_UP_SECONDS = 0.25


class Terminated(BaseException):
    """Raised in the main thread by SIGTERM, to leave the reading of stdin."""


class Server:
    def __init__(self, plugin):
        self._plugin = plugin
        self._lock = threading.Lock()
        self._in_flight = {}
        self._answered = threading.Condition(self._lock)
        self._work = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._life = Lifecycle(plugin)
        self._channel = HostChannel(self._life.host_handlers())

    def serve(self):
        self._take_over_stdio()
        signal.signal(signal.SIGTERM, self._terminated)
        if os.environ.get("WARREN_HOST_CHANNEL") == "1":
            self._channel.open()
        try:
            for line in lines(self._stdin, self._too_long):
                self._receive(line)
        except (Terminated, OSError):
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
        raise Terminated()

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
            self._life.stop()
            code = 1 if self._life.failed else 0
        except Exception:
            log("the plugin did not stop well:\n" + traceback.format_exc())
            code = 1
        sys.stderr.flush()
        # Not sys.exit: that would wait for tools that do not heed their cancellation.
        os._exit(code)

    def _send(self, message):
        data = (dump({"jsonrpc": "2.0", **message}) + "\n").encode()
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
            message = parse(line)
        except (ValueError, RecursionError):
            return self._send_error(None, PARSE_ERROR, "the line is not JSON")
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return self._send_error(None, INVALID_REQUEST, "the line is not a JSON-RPC 2.0 message")
        method, call_id = message.get("method"), message.get("id")
        if not isinstance(method, str):
            if "result" not in message and "error" not in message:
                self._send_error(call_id if is_id(call_id) else None, INVALID_REQUEST, "method must be a string")
            return None
        params = message.get("params", {})
        if "id" not in message:
            return self._notified(method, params)
        if not is_id(call_id):
            return self._send_error(None, INVALID_REQUEST, "id must be a string or a whole number")
        if not isinstance(params, dict):
            return self._send_error(call_id, INVALID_PARAMS, "params must be an object")
        return self._dispatch(call_id, method, params)

    def _notified(self, method, params):
        if method != "notifications/cancelled" or not isinstance(params, dict):
            return
        call_id = params.get("requestId")
        context = self._in_flight.get(call_id) if is_id(call_id) else None
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
            span = begin_span(meta.get("traceparent") if isinstance(meta, dict) else None)
            context = Context(call_id, span.traceparent if span else None, self._channel, log)
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
        except RpcError as error:
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
            raise RpcError(INVALID_PARAMS, "protocolVersion must be a string")
        self._life.start()
        result = {
            "protocolVersion": version if version in KNOWN_VERSIONS else LATEST_VERSION,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": self._plugin.name, "version": self._plugin.version},
        }
        if self._plugin.instructions is not None:
            result["instructions"] = self._plugin.instructions
        return result

    def _call(self, params, context, span):
        name, args = params.get("name"), params.get("arguments", {})
        entry = self._plugin._tools.get(name) if isinstance(name, str) else None
        if entry is None:
            raise RpcError(INVALID_PARAMS, "there is no tool %s" % dump(name)[:150])
        if not isinstance(args, dict):
            raise RpcError(INVALID_PARAMS, "arguments must be an object")
        self._life.start()
        if context.cancelled.is_set():
            return {}  # It waited for a thread longer than its caller for it, and nobody is answered.
        result = run_tool(name, entry, args, context)
        if span is not None:
            report = span.end("execute_tool " + name, "error" if result.get("isError") else "ok")
            result["_meta"] = {SPANS_META_KEY: [report]}
        return result

