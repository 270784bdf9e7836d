"""Image files into the service, many at once, and none that it has."""

import hashlib
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from services.cli.bulk.ledger import Fingerprint, Ledger
from services.cli.client import GlammClient, Refused
from services.cli.terminal import problem_line

IN_FLIGHT = 16
_FATAL = (401, 403, 429)
"""Refusals that every other file would meet as well."""


@dataclass(frozen=True)
class Stored:
    """sent: false for an image that was there already."""

    path: Path
    image_id: str
    sent: bool


@dataclass(frozen=True)
class Broken:
    """A file that is no image which the service takes; fault: why, in a line."""

    path: Path
    fault: str


@dataclass(frozen=True)
class _Read:
    """A file as it was looked at, and the sha256 of its bytes where that is known already."""

    file: Fingerprint
    sha256: str | None


_News: TypeAlias = "tuple[_Read, Stored | Broken] | BaseException"


def upload(
    client: GlammClient, paths: Sequence[Path], ledger: Ledger, submission: str, in_flight: int = IN_FLIGHT
) -> Iterator[Stored | Broken]:
    """What becomes of each file, as it becomes known. Noted in the ledger as of `submission`, to be skipped next time.

    Raises GlammError where the trouble is not with a file. As in `batch.run`, stopping half-way leaves nothing waiting.
    """
    waiting: queue.SimpleQueue[_Read] = queue.SimpleQueue()
    news: queue.SimpleQueue[_News] = queue.SimpleQueue()
    left = 0
    for path in paths:
        try:
            str(path).encode()
            file = Fingerprint.of(path)
        except UnicodeEncodeError:
            yield Broken(path, "Its name is not in UTF-8.")
            continue
        except OSError as error:
            yield Broken(path, _reason(error))
            continue
        sha256 = ledger.sha256(file)
        if sha256 is not None and ledger.is_stored(submission, sha256):
            yield Stored(path, sha256, sent=False)
            continue
        waiting.put(_Read(file, sha256))
        left += 1

    def work() -> None:
        try:
            while True:
                try:
                    read = waiting.get_nowait()
                except queue.Empty:
                    return
                news.put(_store(client, read))
        except BaseException as error:  # handed to the caller's thread, which raises it
            news.put(error)

    for _ in range(min(in_flight, left)):
        threading.Thread(target=work, daemon=True, name="upload").start()
    for _ in range(left):
        told = news.get()
        if isinstance(told, BaseException):
            raise told
        read, end = told
        if read.sha256 is not None:
            ledger.note_file(read.file, read.sha256)
        if isinstance(end, Stored):
            ledger.note_stored(submission, end.image_id)
        yield end


def _store(client: GlammClient, read: _Read) -> tuple[_Read, Stored | Broken]:
    path = read.file.path
    try:
        if read.sha256 is None:
            with path.open("rb") as file:
                read = _Read(read.file, hashlib.file_digest(file, "sha256").hexdigest())
        assert read.sha256 is not None
        if _has(client, read.sha256):
            return read, Stored(path, read.sha256, sent=False)
        # The id is the service's word, should the file have changed since it was read.
        stored = client.upload_image(path)
        return read, Stored(path, stored.id, sent=stored.created)
    except OSError as error:
        return read, Broken(path, _reason(error))
    except Refused as error:
        if not error.blames_the_request or error.problem.status in _FATAL:
            raise
        return read, Broken(path, problem_line(error.to_problem()))


def _has(client: GlammClient, image_id: str) -> bool:
    try:
        client.image(image_id)
    except Refused as error:
        if error.problem.status != 404:
            raise
        return False
    return True


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
