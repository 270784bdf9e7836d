"""Phrases as categories."""

import os
from pathlib import Path

import pytest

from services.scheduler.exports import Scratch
from services.scheduler.exports.names import Names, category


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("A dog", "dog"),
        ("the  Red\nBall ", "red ball"),
        ("An apple", "apple"),
        ("another dog", "another dog"),
        ("theatre", "theatre"),
        ("The", "the"),
        ("a a", "a"),
        ("", "object"),
        (" ", "object"),
        (None, "object"),
    ],
)
def test_a_category_is_its_phrase_without_case_and_article(phrase: str | None, name: str) -> None:
    assert category(phrase) == name


def test_names_are_numbered_as_they_are_met() -> None:
    with Scratch() as scratch:
        names = Names(scratch)
        assert [names.number(name) for name in ("dog", "Dog", "dog", "ä'\"", "dog")] == [0, 1, 0, 2, 0]
        assert list(names) == [(0, "dog"), (1, "Dog"), (2, "ä'\"")]


def test_more_names_than_memory_holds_are_kept_on_disk_and_leave_nothing(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        names = Names(scratch)
        # Several times what SQLite's cache holds.
        for number in range(60_000):
            assert names.number(f"a name of a few words that is unlike every other {number}") == number
        assert names.number("a name of a few words that is unlike every other 7") == 7
        assert [number for number, _ in names] == list(range(60_000))
        assert list(tmp_path.iterdir()) == []
        opened = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
        assert any(path.startswith(str(tmp_path)) for path in opened)
