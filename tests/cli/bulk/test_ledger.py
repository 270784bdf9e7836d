"""What is known from earlier runs, and what is not believed."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from services.cli.bulk import ledger as ledger_module
from services.cli.bulk.ledger import Attempt, Fingerprint, Ledger, Picture
from shared.errors import InvalidInput

HOUR = 3600
PICTURE = Picture("1" * 64, "image/png", 3)


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
        assert ledger.picture(before) is None
        ledger.note_picture(before, PICTURE)
    with Ledger(path) as ledger:
        assert ledger.picture(Fingerprint.of(image)) == PICTURE
        assert ledger.sha256_of(image) == PICTURE.sha256
        image.write_bytes(b"two")
        assert ledger.picture(Fingerprint.of(image)) is None
        image.write_bytes(b"three")
        assert ledger.picture(aged(image, HOUR)) is None


def test_a_file_that_has_just_changed_is_read_again(path, tmp_path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"one")
    with Ledger(path) as ledger:
        ledger.note_picture(Fingerprint.of(image), PICTURE)
        assert ledger.picture(Fingerprint.of(image)) is None


def test_what_is_stored_is_known_by_service_and_can_be_forgotten(path) -> None:
    with Ledger(path) as ledger:
        ledger.note_stored("a", "1" * 64)
        ledger.note_stored("b", "1" * 64)
        ledger.forget_stored("b", ["1" * 64])
        assert [ledger.is_stored(name, "1" * 64) for name in "ab"] == [True, False]


def test_an_attempt_is_known_before_it_has_an_end(path) -> None:
    batch = UUID(int=2)
    with Ledger(path) as ledger, ledger.alone():
        begun = ledger.begin("x")
        with Ledger(path) as other:
            assert other.attempt("x") == begun == Attempt(begun.key)
        ledger.finish("x", batch)
        assert ledger.attempt("x") == Attempt(begun.key, batch)
        assert ledger.begin("x").key != begun.key
        ledger.abandon("x")
        assert ledger.attempt("x") is None


def test_two_that_note_at_the_same_time_do_not_wait_for_each_other(path) -> None:
    with Ledger(path) as one, Ledger(path) as other:
        one.note_stored("a", "1" * 64)
        other.note_stored("a", "2" * 64)
        with one.alone():
            one.begin("x")
            other.note_stored("a", "3" * 64)
        assert one.is_stored("a", "3" * 64)


def test_a_ledger_that_another_program_holds_is_told_by_its_name(path, monkeypatch) -> None:
    monkeypatch.setattr(ledger_module, "_BUSY_SECONDS", 0.01)
    with Ledger(path) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as holding:
        holding.execute("BEGIN IMMEDIATE")
        with pytest.raises(InvalidInput, match="locked"):
            ledger.note_stored("a", "1" * 64)


def test_what_is_no_ledger_is_told_by_its_name(tmp_path) -> None:
    (tmp_path / "submissions.sqlite").write_text("something else, and long enough not to be taken for an empty file")
    with pytest.raises(InvalidInput, match=r"submissions\.sqlite"):
        Ledger(tmp_path / "submissions.sqlite")
