"""NATS' client protocol, the side that reads: bytes in, whole operations out.

https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Optional, Union

from .nats_headers import Headers, decode_headers

_MOST_LINE = 1 << 20


class NatsProtocolError(Exception):
    """The server sent what is not NATS."""


@dataclass(frozen=True)
class Message:
    """A message that was received."""

    subject: str
    reply: Optional[str]
    headers: Optional[Headers]
    data: bytes
    sid: int


@dataclass(frozen=True)
class Line:
    """Any operation that is one line: INFO, PING, PONG, +OK, -ERR."""

    verb: str
    rest: str


class Parser:
    """Puts operations together, however the bytes are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0

    @property
    def pending(self) -> int:
        """Bytes that are part of no operation yet."""
        return len(self._buffer) - self._at

    def feed(self, data: bytes) -> None:
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def operations(self) -> Iterator[Union[Message, Line]]:
        """What is complete, in order. @raise NatsProtocolError"""
        while True:
            operation = self._next()
            if operation is None:
                return
            yield operation

    def _next(self) -> Union[Message, Line, None]:
        end = self._buffer.find(b"\r\n", self._at)
        if end < 0:
            if self.pending > _MOST_LINE:
                raise NatsProtocolError("The server sent a line without an end")
            return None
        line = self._buffer[self._at : end].decode("utf-8", "replace")
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        if verb not in ("MSG", "HMSG"):
            self._at = end + 2
            return Line(verb, rest.strip())
        return self._message(verb == "HMSG", rest.split(), end + 2)

    def _message(self, has_headers: bool, words: "list[str]", start: int) -> Optional[Message]:
        sizes = 2 if has_headers else 1
        if len(words) not in (2 + sizes, 3 + sizes) or not all(word.isdigit() for word in [words[1], *words[-sizes:]]):
            raise NatsProtocolError("The server sent a message whose first line is malformed")
        total = int(words[-1])
        body = start + (int(words[-2]) if has_headers else 0)
        end = start + total
        if body > end:
            raise NatsProtocolError("The server sent a message whose headers are longer than itself")
        if len(self._buffer) < end + 2:
            return None
        try:
            headers = decode_headers(bytes(self._buffer[start:body])) if has_headers else None
        except ValueError as cause:
            raise NatsProtocolError(str(cause)) from cause
        self._at = end + 2
        reply = words[2] if len(words) == 3 + sizes else None
        return Message(words[0], reply, headers, bytes(self._buffer[body:end]), int(words[1]))
