"""One attempt at a unary call: waits for the answer, the deadline, or the loss of who served it."""

from __future__ import annotations

import asyncio
import time

from .call import Call, Sender, error_of, is_no_responders
from .headers import ALIVE_HEADER
from .inbox import Inbox
from .nats_parser import Message
from .status import RpcError, StatusCode
from .subject import cancel_subject, probe_subject

_PROBE_SECONDS = 1.0
_PROBES_MISSED = 3


class UnaryCall:
    """A unary call that waits for its answer."""

    def __init__(self, call: Call, target: str, inbox: Inbox, sender: Sender) -> None:
        self._call = call
        self._sender = sender
        self._answer: "asyncio.Future[bytes]" = asyncio.get_running_loop().create_future()
        self._probes = 0
        self._route = inbox.open(target, self._receive, self._fail)

    async def make(self, attempt: int) -> bytes:
        """Sends the request and waits. Cancelling the waiting task cancels the call at the service. @raise RpcError"""
        try:
            self._sender.request(self._call, self._route, attempt)
            await self._wait()
            return self._answer.result()
        except asyncio.CancelledError:
            self._sender.tell(cancel_subject(self._call.service), self._route)
            raise
        finally:
            self._route.close()

    async def _wait(self) -> None:
        probe_at = time.monotonic() + _PROBE_SECONDS
        while not self._answer.done():
            now = time.monotonic()
            if now >= self._call.deadline:
                # The service has the same deadline: it needs no cancellation.
                raise self._call.expired(silent=self._probes > 0)
            if now >= probe_at:
                if self._probes >= _PROBES_MISSED:
                    raise self._lost()
                self._probes += 1
                probe_at += _PROBE_SECONDS
                self._sender.tell(probe_subject(self._call.service), self._route)
            await asyncio.wait([self._answer], timeout=max(0.0, min(probe_at, self._call.deadline) - now))

    def _receive(self, message: Message) -> None:
        if self._answer.done():
            return
        if message.headers is not None and message.headers.get(ALIVE_HEADER):
            self._probes = 0
            return
        # Nobody hears the question: whoever had the call is gone.
        if self._probes > 0 and is_no_responders(message):
            return self._fail(self._lost())
        error = error_of(message, self._call)
        if error:
            self._fail(error)
        else:
            self._answer.set_result(message.data)

    def _fail(self, error: RpcError) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
            # Marked as seen: a caller that was cancelled does not look.
            self._answer.exception()

    def _lost(self) -> RpcError:
        text = f"The replica that served {self._call.path} is gone; whether the call took effect is not known"
        return RpcError(StatusCode.UNAVAILABLE, text, reason="CALL_LOST")
