"""base64url without padding (RFC 4648, section 5): how signatures, assertions and random tokens are written."""

from __future__ import annotations

import base64


def base64url(data: bytes) -> str:
    """`data` in base64url, without the `=` at its end."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
