"""What a call carries beside its message."""

from __future__ import annotations

import math
from typing import Optional
from urllib.parse import quote

from .credit import Window
from .status import RpcError, StatusCode

RPC_HEADER = "Warren-Rpc"
CALLER_HEADER = "Warren-Caller"
STREAM_HEADER = "Warren-Stream"
ALIVE_HEADER = "Warren-Alive"
ERROR_CODE_HEADER = "Nats-Service-Error-Code"

_LONGEST_MS = 9_999_999_999
_LONGEST_KEY = 512


def pack_call(remaining: float, attempt: int, idempotency_key: Optional[str]) -> str:
    """
    `<remaining ms>;<attempt>;<key>`, of the seconds that remain.
    @raise RpcError INVALID_ARGUMENT when the idempotency key is longer than a header may be.
    """
    key = quote(idempotency_key or "", safe="!~*'()")
    if len(key) > _LONGEST_KEY:
        raise RpcError(
            StatusCode.INVALID_ARGUMENT, f"An idempotency key takes at most {_LONGEST_KEY} characters, percent-encoded"
        )
    return f"{min(math.ceil(remaining * 1000), _LONGEST_MS)};{attempt};{key}"


def pack_window(window: Window) -> str:
    """`<frames>;<bytes>`"""
    return f"{window.frames};{window.bytes}"
