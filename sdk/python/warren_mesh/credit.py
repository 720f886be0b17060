"""Flow control by credit, the reader's side: it says what it can take, and grants again what it has consumed."""

from __future__ import annotations

from typing import NamedTuple, Optional


class Window(NamedTuple):
    """What a reader takes before it grants more."""

    frames: int
    bytes: int


DEFAULT_WINDOW = Window(frames=256, bytes=1 << 20)


class CreditMeter:
    """Counts what was consumed since the last grant."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._frames = 0
        self._bytes = 0

    def consume(self, size: int) -> Optional[Window]:
        """Counts a frame with `size` bytes of message; what to grant once half a window is used, else None."""
        self._frames += 1
        self._bytes += size
        if self._frames * 2 < self._window.frames and self._bytes * 2 < self._window.bytes:
            return None
        grant = Window(self._frames, self._bytes)
        self._frames = self._bytes = 0
        return grant
