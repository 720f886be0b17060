"""What a tool is run with, besides its arguments."""

import threading

from .host_channel import HostError


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
