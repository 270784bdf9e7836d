"""What is known from earlier runs, and what is not believed."""

import os
import time
from pathlib import Path
from uuid import UUID

import pytest

from services.cli.bulk.ledger import Attempt, Fingerprint, Ledger
from shared.errors import InvalidInput

HOUR = 3600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "submissions.sqlite"


def aged(path: Path, seconds: float) -> Fingerprint:
    """The file's, which changed so many seconds ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return Fingerprint.of(path)


def test_a_file_is_known_until_it_changes(path, tmp_path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"one")
    before = aged(image, HOUR)
    with Ledger(path) as ledger:
        assert ledger.sha256(before) is None
        ledger.note_file(before, "1" * 64)
    with Ledger(path) as ledger:
        assert ledger.sha256(Fingerprint.of(image)) == "1" * 64
        image.write_bytes(b"two")
        assert ledger.sha256(Fingerprint.of(image)) is None
        image.write_bytes(b"three")
        assert ledger.sha256(aged(image, HOUR)) is None


def test_a_file_that_has_just_changed_is_read_again(path, tmp_path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"one")
    with Ledger(path) as ledger:
        ledger.note_file(Fingerprint.of(image), "1" * 64)
        assert ledger.sha256(Fingerprint.of(image)) is None


def test_what_is_stored_is_known_by_submission_and_can_be_forgotten(path) -> None:
    with Ledger(path) as ledger:
        ledger.note_stored("a", "1" * 64)
        ledger.note_stored("b", "1" * 64)
        ledger.forget_stored("b")
        assert [ledger.is_stored(name, "1" * 64) for name in "ab"] == [True, False]


def test_an_attempt_is_known_before_it_has_an_end(path) -> None:
    newest, batch = UUID(int=1), UUID(int=2)
    with Ledger(path) as ledger, ledger.alone():
        begun = ledger.begin("x", newest)
        with Ledger(path) as other:
            assert other.attempt("x") == begun == Attempt(begun.key, newest)
        ledger.finish("x", batch)
        assert ledger.attempt("x") == Attempt(begun.key, newest, batch)
        assert ledger.begin("x", None).key != begun.key
        ledger.abandon("x")
        assert ledger.attempt("x") is None


def test_what_is_no_ledger_is_told_by_its_name(tmp_path) -> None:
    (tmp_path / "submissions.sqlite").write_text("something else, and long enough not to be taken for an empty file")
    with pytest.raises(InvalidInput, match=r"submissions\.sqlite"):
        Ledger(tmp_path / "submissions.sqlite")
