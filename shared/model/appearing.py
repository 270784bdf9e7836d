"""A folder that appears under its name only when it is whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.model.checkpoint import CheckpointError


@contextmanager
def appearing(destination: Path) -> Iterator[Path]:
    """A folder to fill beside `destination`, which takes its name at the end and vanishes where that is not reached.

    Raises CheckpointError where `destination` is anything but an empty folder or a name that is free.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise CheckpointError(f"{destination} exists already; name a folder that does not")
    temporary = destination.parent / f".{destination.name}.{os.getpid()}.partial"
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
