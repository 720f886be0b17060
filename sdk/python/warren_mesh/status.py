"""gRPC status codes, the one error of calls, and its form on the wire: google.rpc.Status with details."""

from __future__ import annotations

from enum import IntEnum
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

from .protobuf import fields


class StatusCode(IntEnum):
    """https://grpc.io/docs/guides/status-codes/"""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Violation(NamedTuple):
    """A field of the request that breaks the contract."""

    field: str
    description: str


class RpcError(Exception):
    """A call that failed."""

    def __init__(
        self,
        code: StatusCode,
        message: str,
        *,
        reason: Optional[str] = None,
        metadata: Optional[Mapping[str, str]] = None,
        violations: Sequence[Violation] = (),
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        """A constant for programs, such as NO_RESPONDERS; see docs/reference/mesh-protocol.md."""
        self.metadata: Mapping[str, str] = metadata or {}
        self.violations = tuple(violations)
        self.retry_after = retry_after
        """Seconds from now before which another try makes no sense."""


_TYPE = "type.googleapis.com/google.rpc."


def decode_status(data: bytes) -> RpcError:
    """The error that the bytes of a google.rpc.Status hold. Bytes that are none are an error themselves."""
    try:
        return _read_status(data)
    except ValueError as cause:
        unreadable = RpcError(StatusCode.INTERNAL, "A service answered with an error that cannot be read")
        unreadable.__cause__ = cause
        return unreadable


def _read_status(data: bytes) -> RpcError:
    code, message = 0, ""
    reason: Optional[str] = None
    metadata: Dict[str, str] = {}
    violations: List[Violation] = []
    retry_after: Optional[float] = None
    for number, value in fields(data):
        if number == 1:
            code = _int(value)
        elif number == 2:
            message = _text(value)
        elif number == 3:
            detail = dict(fields(_bytes(value)))
            kind, inner = _text(detail.get(1, b"")), _bytes(detail.get(2, b""))
            if kind == _TYPE + "BadRequest":
                violations += [_violation(_bytes(each)) for field, each in fields(inner) if field == 1]
            elif kind == _TYPE + "RetryInfo":
                delay = dict(fields(_bytes(dict(fields(inner)).get(1, b""))))
                retry_after = _int(delay.get(1, 0)) + _int(delay.get(2, 0)) / 1e9
            elif kind == _TYPE + "ErrorInfo":
                for field, each in fields(inner):
                    if field == 1:
                        reason = _text(each)
                    elif field == 3:
                        entry = dict(fields(_bytes(each)))
                        metadata[_text(entry.get(1, b""))] = _text(entry.get(2, b""))
    # A code that nobody knows, or OK in the place of an error, says nothing.
    known = StatusCode(code) if 0 < code <= max(StatusCode) else StatusCode.UNKNOWN
    return RpcError(
        known, message, reason=reason, metadata=metadata, violations=violations, retry_after=retry_after
    )


def _violation(data: bytes) -> Violation:
    entry = dict(fields(data))
    return Violation(_text(entry.get(1, b"")), _text(entry.get(2, b"")))


def _int(value: Union[int, bytes]) -> int:
    if not isinstance(value, int):
        raise ValueError("A number was expected")
    return value


def _bytes(value: Union[int, bytes]) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("Bytes were expected")
    return value


def _text(value: Union[int, bytes]) -> str:
    return _bytes(value).decode("utf-8")
