"""What was written last is kept within its bytes, and the longest unused goes first."""

from services.gateway.written import Written


def test_the_longest_unused_goes_first() -> None:
    written = Written(most_bytes=320)
    for tag in "abcdefghijklmnop":
        written.keep(tag, tag.encode() * 20)
    assert written.get("a") == b"a" * 20
    written.keep("new", b"n" * 20)
    assert written.get("b") is None
    assert [written.get(tag) for tag in ("a", "p", "new")] == [b"a" * 20, b"p" * 20, b"n" * 20]


def test_the_same_again_takes_no_more_room() -> None:
    written = Written(most_bytes=320)
    for _ in range(100):
        written.keep("a", b"a" * 20)
    for tag in "bcdefghijklmnop":
        written.keep(tag, tag.encode() * 20)
    assert written.get("a") == b"a" * 20


def test_what_would_drive_out_too_many_others_is_not_kept() -> None:
    written = Written(most_bytes=320)
    written.keep("a", b"a" * 21)
    assert written.get("a") is None
