"""Removes what nobody needs any more: old images, bytes of deleted ones, and uploads that were not used."""

import threading
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Connection

from shared import stored_images, uploads
from shared.database import create_engine
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.transactions import Transactions

log = get_logger(__name__)

CHUNK = 100
"""Rows locked at a time, for as long as one request to the object store takes."""

_STOP_SECONDS = 5.0


class Cleaner:
    """Works on a thread of its own, with a connection of its own: an object store that hangs must not hold up jobs.

    Whatever it is stopped at, the next round goes on with; two that work at once share the rows between them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = create_engine(settings.database_url, 1)
        self._transactions = Transactions(self._engine, patience=0)
        self._objects = ObjectStore(settings)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start_round(self) -> None:
        """Begin a round, unless one is under way."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self.round, name="cleaning", daemon=True)
            self._thread.start()

    def round(self) -> None:
        """Remove all that there is to remove. Never raises: what fails now is tried again in the next round."""
        try:
            if self._settings.image_retention_days is not None:
                age = timedelta(days=self._settings.image_retention_days)
                self._repeat("images.expired", lambda conn: stored_images.delete_old(conn, age, CHUNK))
            self._repeat("images.erased", lambda conn: stored_images.erase_deleted(conn, self._objects, CHUNK))
            self._repeat("uploads.swept", lambda conn: uploads.sweep(conn, self._objects, CHUNK))
        except Unavailable as error:
            log.warning("cleaning.cut_short", error=error.detail)
        except Exception:
            log.exception("cleaning.failed")

    def close(self) -> None:
        """Begin no chunk any more. One that hangs is left to the end of the process."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        self._engine.dispose()

    def _repeat(self, event: str, step: Callable[[Connection], int]) -> None:
        """Chunk after chunk until one is not full."""
        count = CHUNK
        while count == CHUNK and not self._closing.is_set():
            count = self._transactions.run(step)
            if count:
                log.info(event, count=count)
