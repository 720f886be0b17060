"""How a service says to NATS who it is."""

from __future__ import annotations

import json
from typing import Any, Mapping, Tuple
from urllib.parse import urlsplit

from .base64url import base64url
from .nkey import UserKey


class NatsError(ConnectionError):
    """NATS cannot be reached, or will not have this client."""


def parse_address(url: str) -> Tuple[str, int, bool]:
    """Host, port and whether TLS is a must, of `nats://host:port` or `tls://host:port`. @raise NatsError for others."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 4222
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme not in ("nats", "tls") or parts.username or parts.password:
        raise NatsError("an address of NATS is nats://host:port or tls://host:port, without a user")
    return host, port, parts.scheme == "tls"


def connect_line(info: Mapping[str, Any], name: str, key: UserKey, tls: bool) -> bytes:
    """The answer to a server's greeting: its nonce, signed. @raise NatsError when it is no server of a mesh."""
    nonce = info.get("nonce")
    if not isinstance(nonce, str) or not info.get("headers"):
        raise NatsError("the server asks for no nkey, or has no headers: it is no server of a mesh")
    connect = {
        "verbose": False,
        "pedantic": False,
        "tls_required": tls,
        "name": name,
        "lang": "python",
        "version": "1",
        "protocol": 1,
        "headers": True,
        # Without it NATS says nothing when nobody listens.
        "no_responders": True,
        "nkey": key.public_key,
        "sig": base64url(key.sign(nonce.encode("utf-8"))),
    }
    return b"CONNECT " + json.dumps(connect).encode("utf-8") + b"\r\n"
