"""Where a writer keeps what it has read and cannot write yet: on disk, in files that nobody else sees."""

import os
import sqlite3
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO


class Scratch(ExitStack):
    """Files without names in a folder (None: the system's own); they go with it, and with a process that dies."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self._folder = folder

    def file(self) -> BinaryIO:
        return self.enter_context(tempfile.TemporaryFile(dir=self._folder))

    def database(self) -> sqlite3.Connection:
        """An empty one."""
        handle, path = tempfile.mkstemp(dir=self._folder)
        os.close(handle)
        database = sqlite3.connect(path, isolation_level=None)
        self.callback(database.close)
        # Without a journal, and once it has written, SQLite never looks for the file by its name again.
        for setting in ("journal_mode = OFF", "locking_mode = EXCLUSIVE", "synchronous = OFF", "user_version = 1"):
            database.execute(f"PRAGMA {setting}")
        Path(path).unlink()
        return database
