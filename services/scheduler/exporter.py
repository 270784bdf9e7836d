"""Builds exports, one at a time, in a thread of its own beside the scheduler's loop."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import BinaryIO

from sqlalchemy.exc import DBAPIError

from services.scheduler.election import EXPORTER_LOCK, Election
from services.scheduler.exports import WRITERS, ExportedJob, Scratch, read
from shared import exports
from shared.database import create_engine
from shared.errors import ExportFailed, GlammError, Unavailable
from shared.exports import Export
from shared.logs import get_logger
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.transactions import Transactions

log = get_logger(__name__)

_LOOK_SECONDS = 1.0
_AFTER_TROUBLE_SECONDS = 10.0
_REPORT_SECONDS = 1.0


class _Abandoned(Exception):  # noqa: N818 -- no error: somebody else has the export, or this process stops
    """The build under way is not to be finished here."""


class Exporter:
    """Takes exports in the order in which they were asked for. Several processes may have one; one at a time builds."""

    name = "exporter"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # One connection for the election, one for the moves.
        self._engine = create_engine(settings.database_url, 2)
        self._election = Election(self._engine, EXPORTER_LOCK)
        self._transactions = Transactions(self._engine, patience=settings.sweep_seconds)
        self._objects = ObjectStore(settings)
        self._keep_for = timedelta(seconds=settings.export_ttl_seconds)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread; a build under way is given back, and begins again elsewhere or later."""
        self._stopping.set()
        self._thread.join()
        self._election.resign()
        self._engine.dispose()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = _LOOK_SECONDS
            try:
                if self._election.won():
                    self.remove_outlived()
                    pause = 0.0 if self.build_next() else _LOOK_SECONDS
            except (Unavailable, DBAPIError) as error:
                log.warning("exporter.interrupted", error=str(error).splitlines()[0])
                pause = _AFTER_TROUBLE_SECONDS
            except Exception:
                log.exception("exporter.failed")
                pause = _AFTER_TROUBLE_SECONDS

    def build_next(self) -> bool:
        """Build the oldest that waits; False when there is none. Raises Unavailable."""
        attempts = self._settings.max_attempts
        export = self._transactions.run(lambda conn: exports.begin(conn, attempts, self._keep_for))
        if export is None:
            return False
        try:
            self._build(export)
        except _Abandoned:
            self._give_back(export)
        except Unavailable:
            self._give_back(export)
            raise
        except Exception as error:
            log.exception("export.failed", export_id=str(export.id))
            problem = _explained(error).to_problem()
            self._transactions.run(lambda conn: exports.fail(conn, export, problem, self._keep_for))
        return True

    def remove_outlived(self) -> None:
        """Delete what is past its time, objects first: what fails in the middle is found again. Raises Unavailable."""
        for export in self._transactions.run(exports.outlived):
            self._clear(export)
            self._transactions.run(lambda conn, export_id=export.id: exports.remove(conn, export_id))  # type: ignore[misc]
            log.info("export.removed", export_id=str(export.id))

    def _build(self, export: Export) -> None:
        assert export.batch_id is not None
        began = time.monotonic()
        # An earlier build may have stored its file and died before it could say so.
        self._clear(export)
        with Scratch(self._settings.export_folder) as scratch:
            file = scratch.file()
            WRITERS[export.format](self._watched(export, read(self._transactions, export.batch_id)), file, scratch)
            size = self._store(export, file)
        seconds = round(time.monotonic() - began, 1)
        log.info("export.built", export_id=str(export.id), format=export.format.value, bytes=size, seconds=seconds)

    def _store(self, export: Export, file: BinaryIO) -> int:
        """Into the object store and the export's row; the file's bytes."""
        size = file.seek(0, 2)
        file.seek(0)
        key = f"{export.folder}{export.attempt}"
        try:
            self._objects.put_stream(key, file, size, export.format.media_type)
        except Unavailable:
            # The store answered when the build began, so it may be this file that it does not take.
            self._transactions.run(lambda conn: exports.give_back(conn, export, counted=True))
            raise
        if not self._transactions.run(lambda conn: exports.succeed(conn, export, key, size, self._keep_for)):
            self._objects.delete(key)
            raise _Abandoned
        return size

    def _watched(self, export: Export, jobs: Iterator[ExportedJob]) -> Iterator[ExportedJob]:
        """The jobs, with a look between them at whether to go on, and word of how far the build is."""
        next_report = time.monotonic()
        for n, job in enumerate(jobs):
            if self._stopping.is_set():
                raise _Abandoned
            if time.monotonic() >= next_report:
                progress = min(n / max(export.jobs, 1), 1.0)
                if not self._transactions.run(lambda conn, share=progress: exports.report(conn, export, share)):  # type: ignore[misc]
                    raise _Abandoned
                next_report = time.monotonic() + _REPORT_SECONDS
            yield job

    def _give_back(self, export: Export) -> None:
        """Changes nothing where the export is not this build's any more."""
        self._transactions.run(lambda conn: exports.give_back(conn, export))

    def _clear(self, export: Export) -> None:
        for key in list(self._objects.keys(export.folder)):
            self._objects.delete(key)


def _explained(error: Exception) -> GlammError:
    if isinstance(error, GlammError):
        return error
    if isinstance(error, OSError):
        why = f"The file could not be written: {error.strerror or error}."
        return ExportFailed(why, remedy="Give the folder in GLAMM_EXPORT_FOLDER room, then ask again.")
    return ExportFailed(
        "The file could not be built.", remedy="Look for the export's id in the scheduler's log; it may be a bug."
    )
