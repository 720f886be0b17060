"""Flow control by credit, the reader's side: it says what it can take, grants again what it has consumed, and takes no
more than it granted."""

from __future__ import annotations

from typing import NamedTuple, Optional


class Window(NamedTuple):
    """What a reader takes before it grants more."""

    frames: int
    bytes: int


DEFAULT_WINDOW = Window(frames=256, bytes=1 << 20)


class CreditMeter:
    """Counts what was consumed since the last grant, and what a writer may still send."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._open_frames, self._open_bytes = window
        self._frames = 0
        self._bytes = 0

    def receive(self, size: int) -> bool:
        """Counts a frame that came with `size` bytes of message; False when the writer had no credit for it."""
        allowed = self._open_frames > 0 and self._open_bytes > 0
        self._open_frames -= 1
        self._open_bytes -= size
        return allowed

    def consume(self, size: int) -> Optional[Window]:
        """Counts a frame with `size` bytes of message; what to grant once half a window is used, else None."""
        self._frames += 1
        self._bytes += size
        if self._frames * 2 < self._window.frames and self._bytes * 2 < self._window.bytes:
            return None
        grant = Window(self._frames, self._bytes)
        self._frames = self._bytes = 0
        self._open_frames += grant.frames
        self._open_bytes += grant.bytes
        return grant
