"""One call, and how its request is sent."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Dict, Optional

from .caller import CallerSigner
from .credit import Window
from .headers import CALLER_HEADER, ERROR_CODE_HEADER, RPC_HEADER, STREAM_HEADER, pack_call, pack_window
from .inbox import Route, disconnected
from .nats_connection import NatsConnection
from .nats_headers import encode_headers
from .nats_parser import Message
from .status import RpcError, StatusCode, decode_status


@dataclass(frozen=True)
class Call:
    """A call as its caller wants it."""

    service: str
    method: str
    request: bytes
    deadline: float
    """On the clock of `time.monotonic()`: no wall clock can move it."""
    key: Optional[str] = None
    assertion: Optional[str] = None
    idempotency_key: Optional[str] = None
    traceparent: Optional[str] = None

    @property
    def path(self) -> str:
        return f"{self.service}/{self.method}"

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def expired(self, silent: bool = False) -> RpcError:
        """The error when the deadline passes; silent: nobody said that the call is worked on."""
        text = f"{self.path} did not answer within its deadline"
        return RpcError(StatusCode.DEADLINE_EXCEEDED, text, reason="NO_ANSWER" if silent else None)


class Sender:
    """Sends requests, and what there is to say of calls."""

    def __init__(self, connection: NatsConnection, signer: CallerSigner) -> None:
        self._connection = connection
        self._signer = signer

    def request(self, call: Call, route: Route, attempt: int, window: Optional[Window] = None) -> None:
        """Sends a request. @raise RpcError when it cannot go: lost connection, passed deadline, too large."""
        if not self._connection.up:
            raise disconnected()
        if call.remaining() <= 0:
            raise call.expired()
        headers: Dict[str, str] = {
            RPC_HEADER: pack_call(call.remaining(), attempt, call.idempotency_key),
            CALLER_HEADER: call.assertion or self._signer.own(),
        }
        if window:
            headers[STREAM_HEADER] = pack_window(window)
        if call.traceparent:
            headers["traceparent"] = call.traceparent
        size = len(encode_headers(headers)) + len(call.request)
        if size > self._connection.max_payload:
            most = self._connection.max_payload
            text = f"A request of {size} bytes to {call.path} is over the mesh's limit of {most}"
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, text, reason="TOO_LARGE")
        self._connection.publish(route.target, call.request, route.subject, headers)

    def tell(self, subject: str, route: Route) -> None:
        """Tells every replica something of a call; its reply subject is its name. NATS' 503 comes to its route."""
        self._connection.publish(subject, route.subject.encode("ascii"), route.subject)

    def frame(self, control: str, frame: bytes) -> None:
        """Sends a frame to the control inbox of a stream."""
        self._connection.publish(control, frame)


def is_no_responders(message: Message) -> bool:
    """True for the message by which NATS says that nobody listens to the subject."""
    return not message.data and message.headers is not None and message.headers.status == 503


def error_of(message: Message, call: Call) -> Optional[RpcError]:
    """The error that a message carries in the place of an answer."""
    if is_no_responders(message):
        text = f"No replica of {call.service} answers now"
        return RpcError(StatusCode.UNAVAILABLE, text, reason="NO_RESPONDERS", retry_after=1.0)
    if message.headers is None or message.headers.get(ERROR_CODE_HEADER) is None:
        return None
    return decode_status(message.data)
