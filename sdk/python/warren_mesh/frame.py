"""Frames of a stream: one byte of kind, then what the kind needs. Numbers are big-endian."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from .credit import Window


class FrameKind(IntEnum):
    ACK = 1
    DATA = 2
    MORE = 3
    END = 4
    ERROR = 5
    ALIVE = 6
    CREDIT = 7
    CANCEL = 8
    BATCH = 9


_SEQUENCED = (FrameKind.DATA, FrameKind.MORE, FrameKind.END, FrameKind.BATCH)
_SEQUENCE = struct.Struct(">xI")
_CREDIT = struct.Struct(">BII")
_LENGTH = struct.Struct(">I")

ALIVE = bytes([FrameKind.ALIVE])
CANCEL = bytes([FrameKind.CANCEL])


class Frame(NamedTuple):
    """A frame that was received."""

    kind: FrameKind
    sequence: int
    """Of DATA, MORE, END and BATCH (its first message); 0 of the others."""
    payload: bytes


def parse_frame(data: bytes) -> Frame:
    """Reads a frame. @raise ValueError when the bytes are none."""
    if not data:
        raise ValueError("A frame has at least one byte")
    kind = FrameKind(data[0])
    if kind not in _SEQUENCED:
        return Frame(kind, 0, data[1:])
    if len(data) < _SEQUENCE.size:
        raise ValueError("A frame has no sequence number")
    return Frame(kind, _SEQUENCE.unpack_from(data)[0], data[_SEQUENCE.size :])


def unbatch(payload: bytes) -> list[bytes]:
    """The messages of a BATCH's payload. @raise ValueError when it is malformed or empty."""
    messages = []
    at = 0
    while at < len(payload):
        if at + _LENGTH.size > len(payload):
            raise ValueError("A batch is cut short")
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(payload, at)[0]
        if at > len(payload):
            raise ValueError("A batch is cut short")
        messages.append(payload[start:at])
    if not messages:
        raise ValueError("A batch holds no message")
    return messages


def credit_frame(grant: Window) -> bytes:
    """Credit for so many more frames and bytes."""
    return _CREDIT.pack(FrameKind.CREDIT, grant.frames, grant.bytes)
