"""A call as one or more attempts. Only what reached no handler is made again, so any method may be: within the
deadline, and with full jitter (Brooker, "Exponential Backoff And Jitter", 2015)."""

from __future__ import annotations

import asyncio
import random
from typing import Awaitable, Callable, TypeVar

from .call import Call
from .status import RpcError, StatusCode
from .subject import key_token, method_subject

_MOST_ATTEMPTS = 6
_BASE_SECONDS = 0.04
_MOST_SECONDS = 1.0

_Outcome = TypeVar("_Outcome")


class Attempts:
    """The attempts of one client's calls."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter

    async def make(self, call: Call, attempt: Callable[[str, int], Awaitable[_Outcome]]) -> _Outcome:
        """Calls `attempt` with a subject and a number from 1 until one succeeds. @raise RpcError of the last."""
        base = method_subject(call.service, call.method)
        subject = base if call.key is None else f"{base}.{key_token(call.key)}"
        count = 1
        while True:
            try:
                return await self._keyed(subject, base, count, attempt)
            except RpcError as error:
                delay = self._jitter() * min(_MOST_SECONDS, _BASE_SECONDS * 2**count)
                if not _never_ran(error) or count >= _MOST_ATTEMPTS or call.remaining() <= delay:
                    raise
            await asyncio.sleep(delay)
            count += 1

    async def _keyed(
        self, subject: str, base: str, count: int, attempt: Callable[[str, int], Awaitable[_Outcome]]
    ) -> _Outcome:
        try:
            return await attempt(subject, count)
        except RpcError as error:
            if subject == base or not _never_ran(error):
                raise
        # Nobody holds the key now: any replica can say whether it exists, or bring it up.
        return await attempt(base, count)


def _never_ran(error: RpcError) -> bool:
    return error.code == StatusCode.UNAVAILABLE and error.reason in ("NO_RESPONDERS", "DRAINING")
