"""Ed25519 signatures in plain Python (RFC 8032, section 5.1): this package needs nothing but the standard library.

For control-plane use: one signature at login, and one for each assertion, at some milliseconds each. It is NOT constant
time: Python's integers are not. Do not sign with it where an attacker can choose what is signed and time it closely.
There is no verification here, for the client needs none.
"""

from __future__ import annotations

import hashlib
from typing import Tuple

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P

# Extended homogeneous coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, x * y = T/Z.
_Point = Tuple[int, int, int, int]

_BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_BASE_Y = 4 * pow(5, _P - 2, _P) % _P
_BASE: _Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P)
_NEUTRAL: _Point = (0, 1, 1, 0)


class SigningKey:
    """A private key, made of the 32 bytes that RFC 8032 calls the private key and nkeys call the seed."""

    __slots__ = ("_scalar", "_prefix", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"An Ed25519 private key has 32 bytes, not {len(seed)}")
        digest = hashlib.sha512(seed).digest()
        # Clamped: a multiple of the cofactor, with the highest bit in one place.
        self._scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
        self._prefix = digest[32:]
        self.public_key: bytes = _encode(_multiply(self._scalar, _BASE))

    def sign(self, message: bytes) -> bytes:
        """The signature of `message`, 64 bytes; the same each time."""
        nonce = _hash_to_scalar(self._prefix, message)
        commitment = _encode(_multiply(nonce, _BASE))
        challenge = _hash_to_scalar(commitment, self.public_key, message)
        return commitment + ((nonce + challenge * self._scalar) % _ORDER).to_bytes(32, "little")


def _hash_to_scalar(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _ORDER


def _add(left: _Point, right: _Point) -> _Point:
    """The sum of two points; the formulas are complete, so a point may be added to itself (RFC 8032, 5.1.4)."""
    x1, y1, z1, t1 = left
    x2, y2, z2, t2 = right
    a = (y1 - x1) * (y2 - x2) % _P
    b = (y1 + x1) * (y2 + x2) % _P
    c = 2 * _D * t1 * t2 % _P
    d = 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiply(scalar: int, point: _Point) -> _Point:
    result = _NEUTRAL
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _encode(point: _Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, _P - 2, _P)
    return (y * inverse % _P | (x * inverse % _P & 1) << 255).to_bytes(32, "little")
