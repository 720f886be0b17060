"""Calls to services of a Warren mesh."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager
from typing import AsyncIterator, Optional, Sequence

from .attempts import Attempts
from .call import Call, Sender
from .caller import Caller, CallerSigner
from .credentials import Credentials
from .inbox import Inbox
from .nats_connection import NatsConnection
from .nats_login import NatsError
from .nkey import UserKey
from .status import RpcError, StatusCode
from .stream_reader import StreamReader
from .subject import split_method
from .unary_call import UnaryCall

DEFAULT_TIMEOUT = 10.0
"""Seconds, where the caller names none."""


async def connect(
    servers: Sequence[str], credentials: Credentials, *, tls: Optional[ssl.SSLContext] = None
) -> "MeshClient":
    """
    Joins a mesh as the service that the credentials name: the first of `servers` that takes this client.
    @raise RpcError UNAVAILABLE when none does; ValueError when the seed is malformed.
    """
    key = UserKey(credentials.seed)
    problem: Optional[NatsError] = None
    for server in servers:
        try:
            connection = await NatsConnection.open(server, credentials.service, key, tls)
        except NatsError as error:
            problem = error
        else:
            return MeshClient(connection, credentials.service, key)
    raise RpcError(StatusCode.UNAVAILABLE, str(problem or "No address of NATS was given")) from problem


class MeshClient:
    """
    A client of a mesh: `async with await connect(...) as mesh`. Use it in the event loop that made it.

    When its connection is lost, pending calls and all later ones fail with UNAVAILABLE, reason DISCONNECTED: connect
    again.
    """

    def __init__(self, connection: NatsConnection, service: str, key: UserKey) -> None:
        self._connection = connection
        self._signer = CallerSigner(service, key)
        self._inbox = Inbox(connection, service)
        self._sender = Sender(connection, self._signer)
        self._attempts = Attempts()

    @property
    def up(self) -> bool:
        """Whether messages flow."""
        return self._connection.up

    def sign(self, caller: Caller) -> str:
        """Signs who calls are made for, to give as `assertion`. Believed only of services that may speak for users."""
        return self._signer.sign(caller)

    async def call(
        self,
        method: str,
        request: bytes,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        key: Optional[str] = None,
        assertion: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        traceparent: Optional[str] = None,
    ) -> bytes:
        """
        Calls a unary method and returns the bytes of its answer. Cancelling the task cancels the call at the service.

        `method` is `<package>.<Service>/<Method>`; `timeout` is in seconds; `key` selects the replicas that hold it,
        for methods whose contract names a key field; `assertion` says for whom the call is made, else for this service.
        @raise RpcError whatever the service answered, or why it did not.
        """
        planned = _plan(method, request, timeout, key, assertion, idempotency_key, traceparent)
        await self._writable(planned)
        return await self._attempts.make(
            planned, lambda subject, attempt: UnaryCall(planned, subject, self._inbox, self._sender).make(attempt)
        )

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        request: bytes,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        key: Optional[str] = None,
        assertion: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        traceparent: Optional[str] = None,
    ) -> AsyncIterator[StreamReader]:
        """
        Calls a server-streaming method: `async with mesh.stream(...) as messages: async for message in messages: ...`.
        Leaving the block cancels the stream at the service. A reader that stops reading stops the writer.

        `timeout` is the time for the whole stream; the rest is as in `call`.
        @raise RpcError from the block's head when the service refuses, from the iteration when the stream fails.
        """
        planned = _plan(method, request, timeout, key, assertion, idempotency_key, traceparent)
        await self._writable(planned)

        async def attempt(subject: str, count: int) -> StreamReader:
            reader = StreamReader(planned, subject, self._inbox, self._sender)
            await reader.open(count)
            return reader

        reader = await self._attempts.make(planned, attempt)
        try:
            yield reader
        finally:
            reader.close()

    async def _writable(self, call: Call) -> None:
        try:
            await asyncio.wait_for(self._connection.writable(), call.remaining())
        except asyncio.TimeoutError:
            raise call.expired() from None

    async def close(self) -> None:
        """Sends what is still to be sent, and leaves the mesh. Calls that wait fail."""
        await self._connection.close()

    async def __aenter__(self) -> "MeshClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _plan(
    path: str,
    request: bytes,
    timeout: float,
    key: Optional[str],
    assertion: Optional[str],
    idempotency_key: Optional[str],
    traceparent: Optional[str],
) -> Call:
    service, method = split_method(path)
    deadline = time.monotonic() + timeout
    return Call(service, method, request, deadline, key, assertion, idempotency_key, traceparent)
