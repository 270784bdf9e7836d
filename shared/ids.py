"""Identifiers that sort by the time they were made."""

import secrets
import threading
import time
import uuid

_RANDOM_BITS = 74
_STEP_BITS = 32


class _Clock:
    """The last (millisecond, random) handed out, so that the next id of this process is always greater."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._milliseconds = 0
        self._random = 0

    def tick(self) -> tuple[int, int]:
        with self._lock:
            now = time.time_ns() // 1_000_000
            if now > self._milliseconds:
                self._milliseconds, self._random = now, secrets.randbits(_RANDOM_BITS)
            else:
                # A random step keeps ids of one millisecond in order and still hard to guess.
                self._random += 1 + secrets.randbits(_STEP_BITS)
                if self._random >> _RANDOM_BITS:
                    self._milliseconds, self._random = self._milliseconds + 1, secrets.randbits(_RANDOM_BITS)
            return self._milliseconds, self._random


_clock = _Clock()


def uuid7() -> uuid.UUID:
    """A UUID version 7 (RFC 9562), greater than every one this process made before, clock steps included."""
    milliseconds, random = _clock.tick()
    high, low = random >> 62, random & ((1 << 62) - 1)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)
