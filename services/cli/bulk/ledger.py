"""What `glamm submit` knows from its earlier runs: one SQLite file beside the data folder.

- which image a file held, by its path, size and time of change, so that none is read twice;
- which images a service has, so that none is sent twice, and a run goes on where one was interrupted;
- which batches were asked for, written before the service is asked, so that none is asked for twice.
"""

import fcntl
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from shared.errors import InvalidInput

_SETTLED_NS = 2_000_000_000
"""A file that changed a moment ago may change again within the same tick of its clock."""
_BUSY_SECONDS = 60.0
_TRUSTED_SECONDS = 6 * 3600.0
"""Well below the day after which a service forgets an upload that nothing has used."""

_TABLES = """
    CREATE TABLE IF NOT EXISTS pictures (
        path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT, media_type TEXT
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS images (
        service TEXT, sha256 TEXT, noted REAL, PRIMARY KEY (service, sha256)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS requests (asked TEXT PRIMARY KEY, key TEXT, batch_id TEXT) WITHOUT ROWID;
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
class Picture:
    """What a file holds that is an image."""

    sha256: str
    media_type: str
    bytes: int


@dataclass(frozen=True)
class Attempt:
    """A batch that was asked for. key: names the request. batch_id: once known."""

    key: UUID
    batch_id: UUID | None = None


class Ledger:
    """For one thread; other processes may use the file at the same time, for no transaction stays open between calls.

    What it notes outlives the process, and a batch that is begun also the machine. Every method raises InvalidInput
    where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = path.with_suffix(".lock")
        with self._usable():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Each statement is a transaction of its own.
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def picture(self, file: Fingerprint) -> Picture | None:
        """The image in the file, if it was looked at since it last changed."""
        found = "SELECT sha256, media_type FROM pictures WHERE path = ? AND size = ? AND mtime_ns = ?"
        row = self._execute(found, str(file.path), file.size, file.mtime_ns).fetchone()
        return None if row is None else Picture(row[0], row[1], file.size)

    def sha256_of(self, path: Path) -> str | None:
        """Of the same, by its path; None also where it cannot be looked at."""
        try:
            picture = self.picture(Fingerprint.of(path))
        except (OSError, UnicodeEncodeError):
            return None
        return None if picture is None else picture.sha256

    def note_picture(self, file: Fingerprint, picture: Picture) -> None:
        if time.time_ns() - file.mtime_ns > _SETTLED_NS:
            values = (str(file.path), file.size, file.mtime_ns, picture.sha256, picture.media_type)
            self._execute("INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?)", *values)

    def is_stored(self, service: str, sha256: str) -> bool:
        """As far as is known: the image may have been deleted since. An older note counts no more."""
        found = "SELECT 1 FROM images WHERE service = ? AND sha256 = ? AND noted > ?"
        return self._execute(found, service, sha256, time.time() - _TRUSTED_SECONDS).fetchone() is not None

    def note_stored(self, service: str, sha256: str) -> None:
        self._execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?)", service, sha256, time.time())

    def forget_stored(self, service: str, hashes: Iterable[str]) -> None:
        """From now on the service is asked for them again."""
        for sha256 in hashes:
            self._execute("DELETE FROM images WHERE service = ? AND sha256 = ?", service, sha256)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time asks for batches by this file, so that two that ask for the same get one."""
        with ExitStack() as held:
            with self._usable():
                fcntl.flock(held.enter_context(self._lock.open("w")), fcntl.LOCK_EX)
            yield

    def attempt(self, asked: str) -> Attempt | None:
        """What is known of the batch that has the digest `asked`."""
        row = self._execute("SELECT key, batch_id FROM requests WHERE asked = ?", asked).fetchone()
        if row is None:
            return None
        key, batch_id = row
        return Attempt(UUID(key), None if batch_id is None else UUID(batch_id))

    def begin(self, asked: str) -> Attempt:
        """To be called before the service is asked."""
        attempt = Attempt(uuid4())
        # Lost with the machine's power, the key would let a second batch be made.
        self._execute("PRAGMA synchronous = FULL")
        self._execute("INSERT OR REPLACE INTO requests VALUES (?, ?, NULL)", asked, str(attempt.key))
        self._execute("PRAGMA synchronous = NORMAL")
        return attempt

    def finish(self, asked: str, batch_id: UUID) -> None:
        self._execute("UPDATE requests SET batch_id = ? WHERE asked = ?", str(batch_id), asked)

    def abandon(self, asked: str) -> None:
        """The service has refused it, or has it no more, or another is wanted."""
        self._execute("DELETE FROM requests WHERE asked = ?", asked)

    def _execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        with self._usable():
            return self._connection.execute(statement, values)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise InvalidInput(
                "--data", f"{self._path} cannot be used: {error}.", "Name another folder, or remove the file."
            ) from None
