"""Just enough protobuf to read a google.rpc.Status. Messages of calls are the caller's own: bytes in, bytes out.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Iterator, Tuple, Union


def fields(message: bytes) -> Iterator[Tuple[int, Union[int, bytes]]]:
    """Number and value of each field: an int for varints, bytes for all else. @raise ValueError when cut short."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"A field has the unknown wire type {kind}")
        if at + size > len(message):
            raise ValueError("A field is longer than its message")
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> Tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("A number is cut short")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("A number is longer than 64 bits")
