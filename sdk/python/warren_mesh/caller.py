"""The caller's assertion: who a call is made for, signed with the nkey of the service that says so."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

from .base64url import base64url
from .nkey import UserKey

_SELF_SECONDS = 300.0


@dataclass(frozen=True)
class Caller:
    """Who calls. Times are seconds since 1970, as `time.time()` gives them."""

    principal: str
    """`device:<id>`, `operator`, `key:<id>`, or `service:<name>` for the service itself."""
    scopes: Sequence[str]
    expires_at: float
    tenant: str = "default"
    device: Optional[str] = None
    address: Optional[str] = None
    """The client's address as the edge saw it."""


class CallerSigner:
    """Signs assertions as one service."""

    def __init__(self, service: str, key: UserKey) -> None:
        self._service = service
        self._key = key
        self._own: Optional[Tuple[str, float]] = None

    def sign(self, caller: Caller) -> str:
        """An assertion of `caller`. About others than itself a service is believed only if its policy says so."""
        claims = {
            "iss": self._service,
            "principal": caller.principal,
            "tenant": caller.tenant,
            "device": caller.device,
            "scopes": list(caller.scopes),
            "address": caller.address,
            "expiresAt": int(caller.expires_at * 1000),
        }
        present = {name: value for name, value in claims.items() if value is not None}
        body = json.dumps(present, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        return f"{base64url(body)}.{base64url(self._key.sign(body))}"

    def own(self) -> str:
        """The assertion of this service itself, for calls made for no user; signed again at half of its life."""
        now = time.time()
        if self._own is None or self._own[1] - now < _SELF_SECONDS / 2:
            expires_at = now + _SELF_SECONDS
            caller = Caller(principal=f"service:{self._service}", scopes=("*",), expires_at=expires_at)
            self._own = (self.sign(caller), expires_at)
        return self._own[0]
