"""A request is known again in whatever pieces, and with whatever boundary, it comes."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message

from services.gateway.fingerprint import Fingerprint

FORM = "multipart/form-data; boundary={}"


def cut(data: bytes, places: list[float]) -> list[bytes]:
    marks = sorted(round(place * len(data)) for place in places)
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]


def known_by(content_type: str, pieces: list[bytes], query: bytes = b"") -> tuple[bytes, int]:
    fingerprint = Fingerprint(content_type, query)
    for piece in pieces:
        fingerprint.feed(piece)
    return fingerprint.digest(), fingerprint.length


places = st.lists(st.floats(0, 1), max_size=8)


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"--", b"-", b"ab", b"--ab", b"\r\n", b"x"]), max_size=20), places)
def test_a_body_is_the_same_in_any_pieces(parts: list[bytes], places: list[float]) -> None:
    body = b"".join(parts)
    for content_type in ("application/json", FORM.format("ab"), FORM.format("abab")):
        assert known_by(content_type, cut(body, places)) == known_by(content_type, [body])


def form(boundary: bytes, value: bytes) -> bytes:
    return b'--%s\r\nContent-Disposition: form-data; name="task"\r\n\r\n%s\r\n--%s--\r\n' % (boundary, value, boundary)


@settings(deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_a_form_is_the_same_with_any_boundary(value: bytes, other: bytes) -> None:
    def known(boundary: str, value: bytes) -> tuple[bytes, int]:
        return known_by(FORM.format(boundary), [form(boundary.encode(), value)])

    assert known("one-boundary-0123456789", value) == known("quite-another-one-9876543210", value)
    assert (known("one-boundary-0123456789", other) == known("one-boundary-0123456789", value)) is (value == other)


def test_what_says_how_to_read_a_body_counts() -> None:
    known = {
        known_by("application/json", [b"{}"]),
        known_by("image/png", [b"{}"]),
        known_by("", [b"{}"]),
        known_by("application/json", [b"{}"], b"on_invalid=skip"),
        known_by("application/json", [b"{} "]),
    }
    assert len(known) == 5
    assert known_by("application/json; charset=utf-8", [b"{}"]) in known


class Body:
    """A body of many pieces, and how many of them were read."""

    def __init__(self, pieces: int) -> None:
        self.left = pieces
        self.read = 0

    async def receive(self) -> Message:
        assert self.left, "nothing is left, and nobody is to wait for more"
        self.left -= 1
        self.read += 1
        return {"type": "http.request", "body": b"a" * 1000, "more_body": self.left > 0}


@pytest.mark.parametrize(("pieces", "longest", "read"), [(5, 10_000, 5), (5, 5000, 5), (1000, 5000, 6), (1, 0, 1)])
def test_what_is_left_of_a_body_is_read_to_its_end_or_a_little_beyond_a_limit(
    pieces: int, longest: int, read: int
) -> None:
    body = Body(pieces)
    asyncio.run(Fingerprint("application/json", b"").finish(body.receive, longest))
    assert body.read == read
