"""The header block of a NATS message (ADR-4): a version line with an optional status, then `Name: value` lines."""

from __future__ import annotations

import re
from typing import Dict, Mapping, Optional

_VERSION = "NATS/1.0"
_NAME = re.compile(r"[A-Za-z0-9-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")


class Headers:
    """Headers that were received. Names are case-sensitive; of a name that stands twice the first value counts."""

    __slots__ = ("status", "_values")

    def __init__(self, status: Optional[int], values: Dict[str, str]) -> None:
        self.status = status
        """A status that NATS itself sent: 503 when nobody listens to the subject."""
        self._values = values

    def get(self, name: str) -> Optional[str]:
        return self._values.get(name)


def encode_headers(values: Mapping[str, str]) -> bytes:
    """A header block. @raise ValueError for a name or value that would not stay one header: a line break, say."""
    for name, value in values.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"The header {name!r} has a value that no header can hold")
    lines = "".join(f"{name}: {value}\r\n" for name, value in values.items())
    return f"{_VERSION}\r\n{lines}\r\n".encode("ascii")


def decode_headers(block: bytes) -> Headers:
    """Reads a header block. @raise ValueError when the bytes are none."""
    first, *lines = block.decode("utf-8", "replace").split("\r\n")
    if not first.startswith(_VERSION):
        raise ValueError("A message's headers do not begin with NATS/1.0")
    status = first[len(_VERSION) :].split()[:1]
    values: Dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            values.setdefault(name, value.strip())
    return Headers(int(status[0]) if status and status[0].isdigit() else None, values)
