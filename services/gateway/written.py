"""Jobs as they were last written: whoever asks for one again and again costs a look at its row, and no more."""

from collections import OrderedDict

MOST_BYTES = 32 * 2**20
_LARGEST_SHARE = 16
"""A job that is larger than this part of the whole would drive out too many others."""


class Written:
    """Bodies by their ETags, the last used ones of them, within a number of bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._held = most_bytes, 0
        self._bodies: OrderedDict[str, bytes] = OrderedDict()

    def get(self, tag: str) -> bytes | None:
        body = self._bodies.get(tag)
        if body is not None:
            self._bodies.move_to_end(tag)
        return body

    def keep(self, tag: str, body: bytes) -> None:
        if len(body) * _LARGEST_SHARE > self._most:
            return
        self._held += len(body) - len(self._bodies.pop(tag, b""))
        self._bodies[tag] = body
        while self._held > self._most:
            self._held -= len(self._bodies.popitem(last=False)[1])
