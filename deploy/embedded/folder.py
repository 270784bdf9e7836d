"""The data folder of a stack: who uses it, and where that one is found."""

import fcntl
import json
import os
from io import TextIOWrapper
from pathlib import Path

from deploy.embedded.errors import DataInUseError, EmbeddedError
from deploy.embedded.secret import make_private

LOG_BYTES = 16 << 20


class DataFolder:
    """One folder, used by one stack at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock: TextIOWrapper | None = None

    @property
    def key_file(self) -> Path:
        """The API key that the stack made for the commands of its own user."""
        return self.path / "api-key"

    @property
    def state_file(self) -> Path:
        return self.path / "stack.json"

    def acquire(self) -> None:
        """Make the folder where it is missing and take it. The kernel gives it back when this process ends.

        Raises:
            DataInUseError: another stack has it.
            EmbeddedError: it cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("w")
        except OSError as error:
            raise EmbeddedError(
                f"The data folder {self.path} cannot be used: {error.strerror}.",
                field="--data",
                remedy="Choose another folder.",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise DataInUseError(self.path, *self._user()) from None
        self._lock = lock
        self.state_file.unlink(missing_ok=True)

    def publish(self, url: str) -> None:
        """Say where the running stack answers, for other commands that are given this folder."""
        draft = self.state_file.with_suffix(".new")
        draft.write_text(json.dumps({"pid": os.getpid(), "url": url}) + "\n", encoding="utf-8")
        draft.replace(self.state_file)

    def release(self) -> None:
        """Give the folder back; nothing where it was not taken."""
        if self._lock is not None:
            self.state_file.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def log(self, name: str) -> Path:
        """The log file of a process, with one predecessor kept when it has grown long."""
        path = self.path / "logs" / f"{name}.log"
        make_private(path.parent)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    def _user(self) -> tuple[int | None, str | None]:
        """Process id and URL of the stack that has the folder; nothing while it still starts."""
        try:
            state = json.loads(self.state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None, None
        return state["pid"], state["url"]
