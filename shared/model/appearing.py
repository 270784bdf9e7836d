"""A checkpoint folder that appears under its name only when it is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from shared import appearing as folders
from shared.model.checkpoint import CheckpointError


class DestinationError(CheckpointError):
    """The folder cannot be made, or not filled, where it is wanted."""


@contextmanager
def appearing(destination: Path) -> Iterator[Path]:
    """As `shared.appearing` has it, with checkpoints' errors; readers of safetensors translate their own."""
    try:
        with folders.appearing(destination, (SafetensorError,)) as folder:
            yield folder
    except folders.DestinationError as error:
        raise DestinationError(str(error)) from error
