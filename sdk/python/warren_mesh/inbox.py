"""One wildcard inbox for all answers to this process, with a map from token to who waits."""

from __future__ import annotations

import secrets
from typing import Callable, Dict

from .base64url import base64url
from .nats_connection import NatsConnection
from .nats_parser import Message
from .status import RpcError, StatusCode


class Route:
    """A place where answers to one call arrive. Open it before the request goes out."""

    def __init__(self, inbox: "Inbox", token: str, subject: str, target: str) -> None:
        self._inbox = inbox
        self._token = token
        self.subject = subject
        """What to give as reply subject; also the call's name in `_cancel` and `_probe`."""
        self.target = target
        """Where the request goes."""

    def close(self) -> None:
        """Takes no more answers."""
        self._inbox.forget(self._token)


class _Waiting:
    def __init__(self, route: Route, on_message: Callable[[Message], None], fail: Callable[[RpcError], None]) -> None:
        self.route = route
        self.on_message = on_message
        self.fail = fail


class Inbox:
    """Routes answers by the last token of their subject, and fails all who wait when the connection is lost."""

    def __init__(self, connection: NatsConnection, service: str) -> None:
        # Random, so that no other service can guess where this one waits.
        self._prefix = f"_INBOX.{service}.{base64url(secrets.token_bytes(12))}."
        self._waiting: Dict[str, _Waiting] = {}
        connection.subscribe(self._prefix + "*", self._deliver)
        connection.on_lost.append(self._on_lost)
        connection.on_refused.append(self._on_refused)

    def open(
        self, target: str, on_message: Callable[[Message], None], fail: Callable[[RpcError], None]
    ) -> Route:
        """Opens a route for a request to `target`; `fail` is called when no answer can come any more."""
        # Random, not counted: whoever has answered one call must not know where the answers to others are awaited.
        token = base64url(secrets.token_bytes(12))
        route = Route(self, token, self._prefix + token, target)
        self._waiting[token] = _Waiting(route, on_message, fail)
        return route

    def forget(self, token: str) -> None:
        self._waiting.pop(token, None)

    def _deliver(self, message: Message) -> None:
        waiting = self._waiting.get(message.subject[len(self._prefix) :])
        if waiting:
            waiting.on_message(message)

    def _on_lost(self) -> None:
        for waiting in list(self._waiting.values()):
            waiting.fail(disconnected())

    def _on_refused(self, subject: str) -> None:
        for waiting in list(self._waiting.values()):
            if waiting.route.target == subject:
                text = f"The mesh's policy does not let this service publish to {subject}"
                waiting.fail(RpcError(StatusCode.PERMISSION_DENIED, text, reason="POLICY"))


def disconnected() -> RpcError:
    """The error of calls that waited, or were to be made, when the connection was lost."""
    return RpcError(StatusCode.UNAVAILABLE, "The connection to NATS is lost", reason="DISCONNECTED")
