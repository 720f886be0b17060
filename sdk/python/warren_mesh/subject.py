"""Subjects, and the tokens they are made of. NATS accepts a literal `*`, `>` or extra `.` in a subject, so nothing goes
in unchecked."""

from __future__ import annotations

import re
from typing import Tuple

from .status import RpcError, StatusCode

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")
_METHOD = re.compile(r"((?:[A-Za-z_][A-Za-z0-9_]*\.)*[A-Za-z_][A-Za-z0-9_]*)/([A-Za-z_][A-Za-z0-9_]*)")


def split_method(path: str) -> Tuple[str, str]:
    """Service and method of `<package>.<Service>/<Method>`. @raise ValueError for any other text."""
    match = _METHOD.fullmatch(path)
    if not match:
        raise ValueError(f"{path!r} is no method: write warren.secrets.v1.SecretsService/GetSecret")
    return match[1], match[2]


def method_subject(service: str, method: str) -> str:
    return f"mesh.{service}.{method}"


def key_token(key: str) -> str:
    """A key as the last token of a subject. @raise RpcError INVALID_ARGUMENT when it holds what a subject may not."""
    if _TOKEN.fullmatch(key):
        return key
    raise RpcError(StatusCode.INVALID_ARGUMENT, "A key must be 1 to 128 letters, digits, _ or -")


def cancel_subject(service: str) -> str:
    """Where callers tell all replicas that they no longer wait."""
    return f"mesh.{service}._cancel"


def probe_subject(service: str) -> str:
    """Where callers ask all replicas whether one of them still works on a call."""
    return f"mesh.{service}._probe"
