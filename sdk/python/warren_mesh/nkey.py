"""User nkeys: Ed25519 keys as NATS writes them.

Base32 without padding of: prefix, key, CRC-16/XMODEM of both (little-endian). A seed (`SU...`) has a prefix of two
bytes, which hold `S` and `U` in five bits each; a public key (`U...`) has one.
"""

from __future__ import annotations

import base64
import binascii

from .ed25519 import SigningKey

_SEED = 18 << 3
_USER = 20 << 3
_SEED_PREFIX = bytes([_SEED | _USER >> 5, (_USER & 31) << 3])


class UserKey:
    """The nkey of a service: it logs in with it, and signs with it what it says of callers."""

    __slots__ = ("_key", "public_key")

    def __init__(self, seed: str) -> None:
        """@raise ValueError when the text is no user seed; the message never holds any part of it."""
        self._key = SigningKey(_seed_bytes(seed))
        self.public_key: str = _encode(bytes([_USER]) + self._key.public_key)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of `message`, 64 bytes."""
        return self._key.sign(message)


def _seed_bytes(seed: str) -> bytes:
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (binascii.Error, ValueError):
        raw = b""
    body, checksum = raw[:-2], raw[-2:]
    if len(raw) != 36 or body[:2] != _SEED_PREFIX or checksum != _checksum(body):
        # Without the cause: it could quote the seed.
        raise ValueError("A mesh credential's seed is no user seed (SU...): generate the file again") from None
    return body[2:]


def _encode(body: bytes) -> str:
    return base64.b32encode(body + _checksum(body)).rstrip(b"=").decode("ascii")


def _checksum(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0).to_bytes(2, "little")
