"""A zip archive that is written in one go and costs no memory for each entry.

Python's own `zipfile` keeps every entry's description until the end, which for the masks of a million jobs are
gigabytes. Here the archive's directory grows in a file of its own.
"""

import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Protocol, Self

from services.scheduler.exports.scratch import Scratch

_UTF8 = 0x800
_STORED, _DEFLATED = 0, 8
_VERSION, _VERSION_64 = 20, 45
_MIDNIGHT, _NEW_YEAR_1980 = 0, 0x21
"""Of every entry, so that the same results make the same bytes."""
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Archive:
    """Writes entries one after another into `out`, which can seek; closing writes the directory."""

    def __init__(self, out: IO[bytes], scratch: Scratch) -> None:
        self._out = out
        self._directory = scratch.file()
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()

    def add(self, name: str, data: bytes, compress: bool = True) -> None:
        """An entry that is small enough to be there at once."""
        packed = _deflated(data) if compress else data
        method = _DEFLATED if compress else _STORED
        entry = _Entry(name.encode(), self._out.tell(), method, zlib.crc32(data), len(packed), len(data))
        self._out.write(entry.local_header(_VERSION, entry.packed, entry.size, b""))
        self._out.write(packed)
        self._record(entry)

    @contextmanager
    def entry(self, name: str) -> Iterator[Sink]:
        """A compressed entry of any length, written piece by piece; no other can begin before it ends."""
        entry = _Entry(name.encode(), self._out.tell(), _DEFLATED, 0, 0, 0)
        self._out.write(entry.local_header(_VERSION_64, _MAX_32, _MAX_32, _sizes_64(0, 0)))
        begin = self._out.tell()
        stream = _Stream(self._out)
        yield stream
        stream.flush()
        end = self._out.tell()
        entry = _Entry(entry.name, entry.offset, _DEFLATED, stream.crc, end - begin, stream.size)
        # What could not be known at the beginning is written over what stands there.
        self._out.seek(entry.offset)
        self._out.write(entry.local_header(_VERSION_64, _MAX_32, _MAX_32, _sizes_64(entry.size, entry.packed)))
        self._out.seek(end)
        self._record(entry)

    def _record(self, entry: "_Entry") -> None:
        self._directory.write(entry.directory_record())
        self._count += 1

    def _finish(self) -> None:
        offset, size = self._out.tell(), self._directory.tell()
        self._directory.seek(0)
        shutil.copyfileobj(self._directory, self._out)
        if self._count >= _MAX_16 or max(offset, size) >= _MAX_32:
            wide = (b"PK\6\6", 44, _VERSION_64, _VERSION_64, 0, 0, self._count, self._count, size, offset)
            self._out.write(struct.pack("<4sQHHLLQQQQ", *wide))
            self._out.write(struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1))
        count = min(self._count, _MAX_16)
        end = (b"PK\5\6", 0, 0, count, count, min(size, _MAX_32), min(offset, _MAX_32), 0)
        self._out.write(struct.pack("<4sHHHHLLH", *end))


class _Entry:
    """What an archive says of one entry. offset: of its header; packed, size: bytes as stored and as they were."""

    def __init__(self, name: bytes, offset: int, method: int, crc: int, packed: int, size: int) -> None:
        self.name, self.offset, self.method = name, offset, method
        self.crc, self.packed, self.size = crc, packed, size

    def local_header(self, version: int, packed: int, size: int, extra: bytes) -> bytes:
        fixed = (b"PK\3\4", version, _UTF8, self.method, _MIDNIGHT, _NEW_YEAR_1980, self.crc, packed, size)
        return struct.pack("<4sHHHHHLLLHH", *fixed, len(self.name), len(extra)) + self.name + extra

    def directory_record(self) -> bytes:
        """Numbers that need more than 32 bits stand in a field of their own behind the name."""
        wide = [number for number in (self.size, self.packed, self.offset) if number >= _MAX_32]
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        version = _VERSION_64 if wide else _VERSION
        packed, size, offset = (min(number, _MAX_32) for number in (self.packed, self.size, self.offset))
        fixed = (b"PK\1\2", _VERSION_64, version, _UTF8, self.method, _MIDNIGHT, _NEW_YEAR_1980, self.crc, packed, size)
        lengths = (len(self.name), len(extra), 0, 0, 0, 0, offset)
        return struct.pack("<4sHHHHHHLLLHHHHHLL", *fixed, *lengths) + self.name + extra


class _Stream:
    """Compresses what is written to it, and counts."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._packer = _packer()
        self.crc, self.size = 0, 0

    def write(self, data: bytes) -> int:
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)
        self._out.write(self._packer.compress(data))
        return len(data)

    def flush(self) -> None:
        self._out.write(self._packer.flush())


def _packer() -> "zlib._Compress":
    return zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)


def _deflated(data: bytes) -> bytes:
    packer = _packer()
    return packer.compress(data) + packer.flush()


def _sizes_64(size: int, packed: int) -> bytes:
    return struct.pack("<HHQQ", 1, 16, size, packed)
