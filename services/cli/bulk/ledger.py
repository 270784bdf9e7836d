"""What `glamm submit` knows from its earlier runs: one SQLite file beside the data folder.

- which bytes a file held, by its path, size and time of change, so that none is read twice;
- which images of a submission that is under way are stored already, so that a run goes on where one was interrupted;
- which batches were asked for, written before the service is asked, so that none is asked for twice.
"""

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from shared.errors import InvalidInput

_SETTLED_NS = 2_000_000_000
"""A file that changed a moment ago may change again within the same tick of its clock."""
_COMMIT_SECONDS = 1.0

_TABLES = """
    CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS stored (submission TEXT, sha256 TEXT, PRIMARY KEY (submission, sha256)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS batches (asked TEXT PRIMARY KEY, key TEXT, behind TEXT, batch_id TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Fingerprint:
    """Of a file: what changes when its bytes do."""

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises OSError."""
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Attempt:
    """A batch that was asked for. key: names the request. behind: the newest batch before it. batch_id: once known."""

    key: UUID
    behind: UUID | None
    batch_id: UUID | None = None


class Ledger:
    """For one thread. What it notes is on disk within a second, and at once where it is a batch."""

    def __init__(self, path: Path) -> None:
        self._lock = path.with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise InvalidInput(
                "--data", f"{path} cannot be used: {error}.", "Name another folder, or remove the file."
            ) from None
        self._committed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with closing(self._connection):
            self._connection.commit()

    def sha256(self, file: Fingerprint) -> str | None:
        """Of the file's bytes, if it was read since it last changed."""
        return self._one(
            "SELECT sha256 FROM files WHERE path = ? AND size = ? AND mtime_ns = ?",
            str(file.path),
            file.size,
            file.mtime_ns,
        )

    def sha256_of(self, path: Path) -> str | None:
        """The same by its path; None also where it cannot be looked at."""
        try:
            return self.sha256(Fingerprint.of(path))
        except (OSError, UnicodeEncodeError):
            return None

    def note_file(self, file: Fingerprint, sha256: str) -> None:
        if time.time_ns() - file.mtime_ns > _SETTLED_NS:
            values = (str(file.path), file.size, file.mtime_ns, sha256)
            self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", *values)

    def is_stored(self, submission: str, sha256: str) -> bool:
        found = "SELECT 1 FROM stored WHERE submission = ? AND sha256 = ?"
        return self._one(found, submission, sha256) is not None

    def note_stored(self, submission: str, sha256: str) -> None:
        self._write("INSERT OR IGNORE INTO stored VALUES (?, ?)", submission, sha256)

    def forget_stored(self, submission: str) -> None:
        """From now on the service is asked again."""
        self._write("DELETE FROM stored WHERE submission = ?", submission)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time asks for batches by this file, so that two that ask for the same get one."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def attempt(self, asked: str) -> Attempt | None:
        """What is known of the batch that has the digest `asked`."""
        row = self._connection.execute("SELECT key, behind, batch_id FROM batches WHERE asked = ?", (asked,)).fetchone()
        if row is None:
            return None
        key, *others = row
        behind, batch_id = (None if value is None else UUID(value) for value in others)
        return Attempt(UUID(key), behind, batch_id)

    def begin(self, asked: str, behind: UUID | None) -> Attempt:
        """To be called before the service is asked."""
        attempt = Attempt(uuid4(), behind)
        values = (asked, str(attempt.key), behind and str(behind))
        self._write("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, NULL)", *values)
        self._connection.commit()
        return attempt

    def finish(self, asked: str, batch_id: UUID) -> None:
        self._write("UPDATE batches SET batch_id = ? WHERE asked = ?", str(batch_id), asked)
        self._connection.commit()

    def abandon(self, asked: str) -> None:
        """The service has refused it, or has it no more, or another is wanted."""
        self._write("DELETE FROM batches WHERE asked = ?", asked)
        self._connection.commit()

    def _one(self, statement: str, *values: object) -> str | None:
        row = self._connection.execute(statement, values).fetchone()
        return None if row is None else row[0]

    def _write(self, statement: str, *values: object) -> None:
        self._connection.execute(statement, values)
        now = time.monotonic()
        if now - self._committed > _COMMIT_SECONDS:
            self._connection.commit()
            self._committed = now
