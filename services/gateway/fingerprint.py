"""What a request is known by: a hash of its body, taken while the body passes by, and of what says how to read it."""

import hashlib

from python_multipart.multipart import parse_options_header
from starlette.types import Message, Receive

_FORM = b"multipart/form-data"
_LONGEST_LEFT = 64 * 1024


class Fingerprint:
    """A body is the same in whatever pieces it comes.

    So is a form with whatever boundary: programs make up another one each time they send it. `length` counts the bytes
    that were hashed.
    """

    def __init__(self, content_type: str, query: bytes) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"") if kind == _FORM else b""
        self._delimiter = b"--" + boundary if boundary else b""
        self._hash = hashlib.sha256(kind + b"\n" + query + b"\n")
        self._held = b""
        self._ended = False
        self.length = 0

    def passing(self, receive: Receive) -> Receive:
        """The same messages, seen here."""

        async def seen() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self._ended = not message.get("more_body", False)
                self.feed(message.get("body", b""))
            return message

        return seen

    async def finish(self, receive: Receive, longest: int = _LONGEST_LEFT) -> None:
        """Read what is left of the body, up to so many bytes: a route that takes none reads none."""
        seen = self.passing(receive)
        enough = self.length + longest
        while not self._ended and self.length <= enough and (await seen())["type"] == "http.request":
            pass

    def feed(self, piece: bytes) -> None:
        if not self._delimiter:
            self._take(piece)
            return
        *parts, rest = (self._held + piece).split(self._delimiter)
        for part in parts:
            self._take(part + b"--")
        # What may be the beginning of a delimiter waits for the next piece.
        sure = max(0, len(rest) - len(self._delimiter) + 1)
        self._take(rest[:sure])
        self._held = rest[sure:]

    def digest(self) -> bytes:
        self._take(self._held)
        self._held = b""
        return self._hash.digest()

    def _take(self, data: bytes) -> None:
        self.length += len(data)
        self._hash.update(data)
