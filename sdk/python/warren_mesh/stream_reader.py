"""The client's side of a server stream: checks the sequence, grants credit for what is consumed, cancels when left."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Deque, List, Optional, Tuple

from .call import Call, Sender, error_of
from .credit import DEFAULT_WINDOW, CreditMeter
from .frame import ALIVE, CANCEL, Frame, FrameKind, credit_frame, parse_frame, unbatch
from .inbox import Inbox
from .nats_parser import Message
from .status import RpcError, StatusCode, decode_status
from .subject import cancel_subject

_ALIVE_SECONDS = 2.0
_GONE_SECONDS = 8.0
_LARGEST_MESSAGE = 64 << 20
_SEQUENCES = 1 << 32


class StreamReader:
    """Messages of a stream, in order, each once: `async for message in reader`. One task reads."""

    def __init__(self, call: Call, target: str, inbox: Inbox, sender: Sender) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._call = call
        self._sender = sender
        self._meter = CreditMeter(DEFAULT_WINDOW)
        self._accepted: "asyncio.Future[None]" = loop.create_future()
        self._control: Optional[str] = None
        # A message with the size of its last frame: the others were granted as they came.
        self._queue: Deque[Tuple[bytes, int]] = deque()
        self._parts: List[bytes] = []
        self._part_bytes = 0
        self._sequence = 0
        self._last_heard = time.monotonic()
        self._over = False
        self._failure: Optional[RpcError] = None
        self._wake = asyncio.Event()
        self._route = inbox.open(target, self._receive, self._fail)
        self._deadline = loop.call_later(call.remaining(), lambda: self._cancel(call.expired()))
        self._keepalive = loop.call_later(_ALIVE_SECONDS, self._watch)

    async def open(self, attempt: int) -> None:
        """Sends the request and waits until a service has taken it. @raise RpcError when none did."""
        try:
            self._sender.request(self._call, self._route, attempt, DEFAULT_WINDOW)
            await self._accepted
        except RpcError as error:
            self._fail(error)
            raise
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """Leaves the stream; the service's handler is cancelled unless the stream has ended."""
        self._cancel(RpcError(StatusCode.CANCELLED, "The reader of the stream left"))

    def __aiter__(self) -> "StreamReader":
        return self

    async def __anext__(self) -> bytes:
        while not self._queue:
            if self._failure:
                raise self._failure
            if self._over:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        message, last_frame = self._queue.popleft()
        self._consumed(last_frame)
        return message

    def _receive(self, message: Message) -> None:
        if self._over:
            return
        self._last_heard = time.monotonic()
        error = error_of(message, self._call)
        if error:
            return self._fail(error)
        try:
            frame = parse_frame(message.data)
        except ValueError:
            return self._cancel(RpcError(StatusCode.DATA_LOSS, "A stream held something that is no frame"))
        if frame.kind == FrameKind.ACK:
            self._control = message.reply
            if not self._accepted.done():
                self._accepted.set_result(None)
        elif frame.kind == FrameKind.ERROR:
            self._fail(decode_status(frame.payload))
        elif frame.kind in (FrameKind.DATA, FrameKind.MORE, FrameKind.END, FrameKind.BATCH):
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame.sequence != (self._sequence + 1) % _SEQUENCES:
            text = f"A stream went from frame {self._sequence} to {frame.sequence}"
            return self._cancel(RpcError(StatusCode.DATA_LOSS, text))
        self._sequence = frame.sequence
        if frame.kind == FrameKind.END:
            return self._finish()
        if frame.kind == FrameKind.BATCH:
            return self._take_batch(frame.payload)
        if not self._meter.receive(len(frame.payload)):
            return self._overrun()
        self._parts.append(frame.payload)
        self._part_bytes += len(frame.payload)
        if self._part_bytes > _LARGEST_MESSAGE:
            text = f"A message of a stream is over {_LARGEST_MESSAGE} bytes"
            return self._cancel(RpcError(StatusCode.RESOURCE_EXHAUSTED, text))
        if frame.kind == FrameKind.MORE:
            # Granted as it comes: the rest of the message could never arrive otherwise.
            return self._consumed(len(frame.payload))
        self._queue.append((b"".join(self._parts), len(frame.payload)))
        self._parts = []
        self._part_bytes = 0
        self._wake.set()

    def _take_batch(self, payload: bytes) -> None:
        try:
            messages = unbatch(payload)
        except ValueError as error:
            return self._cancel(RpcError(StatusCode.DATA_LOSS, str(error)))
        self._sequence = (self._sequence + len(messages) - 1) % _SEQUENCES
        for message in messages:
            if not self._meter.receive(len(message)):
                return self._overrun()
            self._queue.append((message, len(message)))
        self._wake.set()

    def _overrun(self) -> None:
        """A writer that does not heed the window could fill this process's memory."""
        self._cancel(RpcError(StatusCode.RESOURCE_EXHAUSTED, "A stream sent more than it had credit for"))

    def _consumed(self, size: int) -> None:
        grant = self._meter.consume(size)
        if grant and self._control and not self._over:
            self._sender.frame(self._control, credit_frame(grant))

    def _watch(self) -> None:
        """Says that this side is there, and notices when the other is not."""
        if time.monotonic() - self._last_heard > _GONE_SECONDS:
            gone = RpcError(StatusCode.UNAVAILABLE, "The service of a stream fell silent", reason="STREAM_LOST")
            return self._cancel(gone)
        if self._control:
            self._sender.frame(self._control, ALIVE)
        self._keepalive = self._loop.call_later(_ALIVE_SECONDS, self._watch)

    def _cancel(self, error: RpcError) -> None:
        if self._over:
            return
        if self._control:
            self._sender.frame(self._control, CANCEL)
        else:
            self._sender.tell(cancel_subject(self._call.service), self._route)
        self._fail(error)

    def _fail(self, error: RpcError) -> None:
        if self._over:
            return
        self._failure = error
        if not self._accepted.done():
            self._accepted.set_exception(error)
            # Whoever waits for it gets it; nobody may.
            self._accepted.exception()
        self._finish()

    def _finish(self) -> None:
        self._over = True
        self._route.close()
        self._deadline.cancel()
        self._keepalive.cancel()
        self._wake.set()
