"""One connection to NATS, over asyncio. It does not come back by itself: when it is lost it says so, and stays lost."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional

from .nats_headers import encode_headers
from .nats_login import NatsError, connect_line, parse_address
from .nats_parser import Line, Message, NatsProtocolError, Parser
from .nkey import UserKey

_PING_SECONDS = 10.0
_PINGS_MISSED = 2
_REFUSED_PUBLISH = re.compile(r'Permissions Violation for Publish to "([^"]*)"', re.IGNORECASE)
# The server goes on after these; it closes the connection after every other error.
_SURVIVED = re.compile(r"Permissions Violation|Invalid Subject", re.IGNORECASE)

_log = logging.getLogger("warren_mesh")


class NatsConnection(asyncio.Protocol):
    """A connection that is logged in with an nkey."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._parser = Parser()
        self._transport: Optional[asyncio.Transport] = None
        self._info: Dict[str, Any] = {}
        self._greeted: "asyncio.Future[None]" = loop.create_future()
        self._ended: "asyncio.Future[None]" = loop.create_future()
        self._pongs: "Deque[asyncio.Future[None]]" = deque()
        self._writable = asyncio.Event()
        self._writable.set()
        self._subscriptions: Dict[int, Callable[[Message], None]] = {}
        self._last_error = ""
        self._pings_missed = 0
        self._ping_timer: Optional[asyncio.TimerHandle] = None
        self.on_lost: List[Callable[[], None]] = []
        """Called once when the connection is gone, also by `close`."""
        self.on_refused: List[Callable[[str], None]] = []
        """Called with a subject to which the server's permissions do not let this client publish."""

    @classmethod
    async def open(
        cls, url: str, name: str, key: UserKey, tls: Optional[ssl.SSLContext] = None, timeout: float = 10.0
    ) -> "NatsConnection":
        """
        Connects and logs in. `nats://` is plain text unless `tls` is given; `tls://` is never.
        @raise NatsError saying what went wrong.
        """
        host, port, secure = parse_address(url)
        context = tls or (ssl.create_default_context() if secure else None)
        connection: Optional[NatsConnection] = None
        try:
            loop = asyncio.get_running_loop()
            _, connection = await asyncio.wait_for(loop.create_connection(cls, host, port), timeout)
            await asyncio.wait_for(connection._log_in(name, key, context, host), timeout)
            return connection
        except (OSError, asyncio.TimeoutError) as cause:
            if connection:
                connection._abort()
            why = str(cause) or f"no answer within {timeout:g} s"
            raise NatsError(f"NATS at {host}:{port} cannot be joined as {name}: {why}") from cause
        except BaseException:
            if connection:
                connection._abort()
            raise

    @property
    def up(self) -> bool:
        return self._greeted.done() and not self._ended.done()

    @property
    def max_payload(self) -> int:
        """The largest message that the server takes, headers counted."""
        return int(self._info.get("max_payload", 1 << 20))

    def publish(
        self, subject: str, data: bytes, reply: Optional[str] = None, headers: Optional[Mapping[str, str]] = None
    ) -> None:
        """Sends a message. While the connection is lost nothing is sent, and the caller was told by `on_lost`."""
        target = f"{subject} {reply}" if reply else subject
        if headers is None:
            self._write(f"PUB {target} {len(data)}\r\n".encode("ascii") + data + b"\r\n")
        else:
            block = encode_headers(headers)
            sizes = f"{len(block)} {len(block) + len(data)}"
            self._write(f"HPUB {target} {sizes}\r\n".encode("ascii") + block + data + b"\r\n")

    def subscribe(self, subject: str, on_message: Callable[[Message], None]) -> None:
        """Receives what is published to a subject, until the connection ends."""
        sid = len(self._subscriptions) + 1
        self._subscriptions[sid] = on_message
        self._write(f"SUB {subject} {sid}\r\n".encode("ascii"))

    async def writable(self) -> None:
        """Resolves when what was published before has mostly left this process."""
        await self._writable.wait()

    async def flush(self) -> None:
        """Resolves when the server has taken all that was published. @raise NatsError when it is lost before."""
        if self._ended.done():
            raise NatsError("the connection is lost")
        pong: "asyncio.Future[None]" = self._loop.create_future()
        self._pongs.append(pong)
        self._write(b"PING\r\n")
        await pong

    async def close(self) -> None:
        """Sends what is still to be sent, and ends the connection."""
        if self.up:
            try:
                await asyncio.wait_for(self.flush(), _PING_SECONDS)
            except (NatsError, asyncio.TimeoutError):
                pass
        if self._transport:
            self._transport.close()
            await asyncio.wait([self._ended], timeout=1.0)
        self._abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        try:
            for operation in self._parser.operations():
                if isinstance(operation, Message):
                    self._deliver(operation)
                else:
                    self._obey(operation)
        except NatsProtocolError as error:
            self._last_error = str(error)
            self._abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        if self._ended.done():
            return
        self._ended.set_result(None)
        if self._ping_timer:
            self._ping_timer.cancel()
        self._writable.set()
        error = NatsError(self._last_error or str(exc or "the server closed the connection"))
        for waiting in [self._greeted, *self._pongs]:
            if not waiting.done():
                waiting.set_exception(error)
                # Marked as seen: for most nobody waits.
                waiting.exception()
        self._pongs.clear()
        for callback in self.on_lost:
            callback()

    async def _log_in(self, name: str, key: UserKey, tls: Optional[ssl.SSLContext], host: str) -> None:
        await self._greeted
        if tls:
            await self._secure(tls, host)
        elif self._info.get("tls_required"):
            raise NatsError("the server wants TLS: give a tls:// address, or an ssl.SSLContext that trusts it")
        self._write(connect_line(self._info, name, key, tls is not None))
        await self.flush()
        self._ping_timer = self._loop.call_later(_PING_SECONDS, self._ping)

    async def _secure(self, tls: ssl.SSLContext, host: str) -> None:
        if not (self._info.get("tls_required") or self._info.get("tls_available")):
            raise NatsError("the server has no TLS, and this client was told to use it")
        # What follows the greeting in plain text could be anybody's.
        if self._parser.pending or self._transport is None:
            raise NatsError("the server went on in plain text where TLS was to begin")
        secured = await self._loop.start_tls(self._transport, self, tls, server_hostname=host)
        if secured is None:
            raise NatsError("the connection ended while TLS began")
        self._transport = secured

    def _deliver(self, message: Message) -> None:
        callback = self._subscriptions.get(message.sid)
        if not callback:
            return
        try:
            callback(message)
        except Exception:
            # One message that cannot be handled does not end the connection of all.
            _log.exception("A message to %s could not be handled", message.subject)

    def _obey(self, line: Line) -> None:
        if line.verb == "PING":
            self._write(b"PONG\r\n")
        elif line.verb == "PONG":
            self._pings_missed = 0
            if self._pongs:
                pong = self._pongs.popleft()
                if not pong.done():
                    pong.set_result(None)
        elif line.verb == "INFO":
            self._greet(line.rest)
        elif line.verb == "-ERR":
            self._last_error = line.rest.strip("'")
            _log.warning("NATS reports an error: %s", self._last_error)
            refused = _REFUSED_PUBLISH.search(self._last_error)
            if refused:
                for callback in self.on_refused:
                    callback(refused[1])
            if not _SURVIVED.search(self._last_error):
                self._abort()
        elif line.verb != "+OK":
            raise NatsProtocolError("The server sent what is not NATS")

    def _greet(self, text: str) -> None:
        try:
            info = json.loads(text)
        except ValueError as cause:
            raise NatsProtocolError("The server's greeting is no JSON") from cause
        if not isinstance(info, dict):
            raise NatsProtocolError("The server's greeting is no JSON object")
        self._info.update(info)
        if not self._greeted.done():
            self._greeted.set_result(None)

    def _ping(self) -> None:
        if self._pings_missed >= _PINGS_MISSED:
            self._last_error = "the server fell silent"
            return self._abort()
        self._pings_missed += 1
        self._pongs.append(self._loop.create_future())
        self._write(b"PING\r\n")
        self._ping_timer = self._loop.call_later(_PING_SECONDS, self._ping)

    def _write(self, data: bytes) -> None:
        if self._transport and not self._ended.done():
            self._transport.write(data)

    def _abort(self) -> None:
        if self._transport:
            self._transport.abort()
        self.connection_lost(None)
