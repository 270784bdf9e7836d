"""A look at an image file before anything of it is sent: its hash, its type, and whether it is an image at all."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from services.cli.bulk.ledger import Fingerprint, Picture
from services.cli.terminal import problem_line
from shared.errors import InvalidInput
from shared.images import Limits, check, too_many_bytes

# What the service takes is for the service to say; these keep this process from harm.
_LIMITS = Limits(max_bytes=2**30, max_pixels=2**30, max_side=2**30)
# Each holds a decoded picture.
_decoders = threading.BoundedSemaphore(min(4, os.cpu_count() or 1))


@dataclass(frozen=True)
class Looked:
    """An image file, as it was when it was looked at."""

    file: Fingerprint
    picture: Picture


@dataclass(frozen=True)
class Broken:
    """A file that is no image which the service takes; fault: why, in a line."""

    path: Path
    fault: str


def look(file: Fingerprint) -> Looked | Broken:
    """Read the file and judge it as the service would, which sees it only when the first job's turn comes."""
    try:
        if file.size > _LIMITS.max_bytes:
            raise too_many_bytes(_LIMITS)
        data = file.path.read_bytes()
        with _decoders:
            image = check(data, _LIMITS)
    except OSError as error:
        return Broken(file.path, reason(error))
    except InvalidInput as error:
        return Broken(file.path, problem_line(error.to_problem()))
    return Looked(file, Picture(image.id, image.media_type, len(data)))


def reason(error: OSError) -> str:
    return error.strerror or str(error)
