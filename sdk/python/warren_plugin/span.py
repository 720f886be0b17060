"""Spans of the W3C Trace Context that a plugin reports with its answers."""

import re
import secrets
import time

SPANS_META_KEY = "dev.warren/spans"


class Span:
    def __init__(self, trace_id, parent, flags):
        self._id, self._parent = secrets.token_hex(8), parent
        self._start = time.time_ns()
        self.traceparent = "00-%s-%s-%s" % (trace_id, self._id, flags)

    def end(self, name, status):
        return {"spanId": self._id, "parentSpanId": self._parent, "name": name, "startTimeUnixNano": str(self._start),
                "endTimeUnixNano": str(time.time_ns()), "status": status}


def begin_span(traceparent):
    """A span below the caller's; None where the caller sent no valid traceparent (W3C Trace Context, level 1)."""
    match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", traceparent) if isinstance(traceparent, str) else None
    if match is None or set(match[1]) == {"0"} or set(match[2]) == {"0"}:
        return None
    return Span(match[1], match[2], match[3])
