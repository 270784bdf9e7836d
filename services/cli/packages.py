"""What some commands stand on is not in every installation of `glamm`: the torch-less image leaves it out."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import InvalidSettings


@contextmanager
def needed(extras: str) -> Iterator[None]:
    """Around the imports of such a command: raises InvalidSettings that tells what to install.

    extras: those of pyproject.toml that bring it, with commas between them.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InvalidSettings(
            f"This command needs the package {error.name}.",
            remedy=f"Install this project with what the command needs: pip install 'glamm[{extras}]'.",
        ) from error
