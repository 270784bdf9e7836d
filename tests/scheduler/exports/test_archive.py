"""Archives that `zipfile` reads, also with more entries than the old form can count."""

import io
import os
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.exports import Scratch
from services.scheduler.exports.archive import Archive


@given(st.lists(st.tuples(st.binary(max_size=300), st.sampled_from(["stored", "packed", "piece by piece"]))))
def test_entries_come_back_as_they_were(entries: list[tuple[bytes, str]]) -> None:
    out = io.BytesIO()
    with Scratch() as scratch, Archive(out, scratch) as archive:
        for n, (data, how) in enumerate(entries):
            if how == "piece by piece":
                with archive.entry(f"ordner/ü-{n}") as entry:
                    for at in range(0, len(data), 7):
                        entry.write(data[at : at + 7])
            else:
                archive.add(f"ordner/ü-{n}", data, compress=how == "packed")
    with zipfile.ZipFile(out) as read:
        assert read.testzip() is None
        assert read.namelist() == [f"ordner/ü-{n}" for n in range(len(entries))]
        assert [read.read(name) for name in read.namelist()] == [data for data, _ in entries]


@pytest.mark.parametrize("count", [65_534, 65_535, 70_000])
def test_there_may_be_very_many_entries(count: int) -> None:
    out = io.BytesIO()
    with Scratch() as scratch, Archive(out, scratch) as archive:
        for n in range(count):
            archive.add(str(n), b"x", compress=False)
    with zipfile.ZipFile(out) as read:
        assert len(read.namelist()) == count
        assert read.read(str(count - 1)) == b"x"


class _Far(io.BytesIO):
    """A file whose beginning is five gigabytes ahead of what is kept of it."""

    AHEAD = 5 << 30

    def tell(self) -> int:
        return super().tell() + self.AHEAD

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return super().seek(offset - self.AHEAD if whence == os.SEEK_SET else offset, whence)


def test_an_archive_may_be_longer_than_four_gigabytes() -> None:
    out = _Far()
    with Scratch() as scratch, Archive(out, scratch) as archive:
        archive.add("small", b"abc")
        with archive.entry("long") as entry:
            entry.write(b"abc" * 1000)

    class Shifted(_Far):
        def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
            if whence == os.SEEK_END:
                return io.BytesIO.seek(self, offset, whence) + self.AHEAD
            return super().seek(offset, whence)

    with zipfile.ZipFile(Shifted(out.getvalue())) as read:
        assert read.getinfo("long").header_offset > _Far.AHEAD
        assert read.read("small") == b"abc"
        assert read.read("long") == b"abc" * 1000


def test_an_archive_that_failed_in_the_middle_has_no_directory() -> None:
    out = io.BytesIO()

    def fail() -> None:
        with Scratch() as scratch, Archive(out, scratch) as archive:
            archive.add("one", b"abc")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not zipfile.is_zipfile(out)
