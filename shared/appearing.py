"""A folder that appears under its name only when it is whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DestinationError(Exception):
    """The folder cannot be made, or not filled, where it is wanted."""


@contextmanager
def appearing(destination: Path, faults: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """A folder to fill beside `destination`, which takes its name at the end and vanishes where that is not reached.

    faults: what else than an OSError says that the folder cannot be filled. Raises DestinationError where `destination`
    is anything but an empty folder or a name that is free, and in place of an error of making or filling the folder. An
    OSError that names another file is let through.
    """
    temporary = destination.parent / f".{destination.name}.{os.getpid()}.partial"
    try:
        if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
            raise DestinationError(f"{destination} exists already")
        temporary.mkdir(parents=True)
    except OSError as error:
        raise DestinationError(f"{destination} cannot be made: {error.strerror or error}") from error
    try:
        yield temporary
        temporary.replace(destination)
    except OSError as error:
        # Writing to a file that is open, as on a full disk, raises errors without its name.
        if error.filename is not None and not Path(error.filename).is_relative_to(temporary):
            raise
        raise DestinationError(f"{destination} cannot be filled: {error.strerror or error}") from error
    except faults as error:
        raise DestinationError(f"{destination} cannot be filled: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
