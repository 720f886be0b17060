"""The plugin's way to its host: calls to it, and calls from it."""

import os
import queue
import socket
import stat
import threading

from .json_rpc import INTERNAL_ERROR, METHOD_NOT_FOUND, dump, is_id, lines, parse

HOST_DESCRIPTOR = 4


class HostError(Exception):
    """The host did not do what it was asked for. `reason` is a constant such as PERMISSION_DENIED or NOT_FOUND;
    UNAVAILABLE when there is no channel to the host, CANCELLED when the call has ended."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


class HostChannel:
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
        data = (dump({"jsonrpc": "2.0", **message}) + "\n").encode()
        with self._lock:
            try:
                self._socket.sendall(data)
            except OSError:
                raise HostError("UNAVAILABLE", "the channel to the host is closed") from None

    def _read(self):
        try:
            for line in lines(self._socket.makefile("rb"), lambda: None):
                try:
                    self._receive(parse(line))
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
            pending = self._pending.get(message.get("id")) if is_id(message.get("id")) else None
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
        if is_id(call_id):
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
