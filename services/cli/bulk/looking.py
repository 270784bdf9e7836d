"""A look at an image file before anything of it is sent: its hash, its type, and whether it is an image at all."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from services.cli.bulk.ledger import Fingerprint, Picture
from services.cli.terminal import problem_line
from shared import limits
from shared.errors import InvalidInput
from shared.images import Limits, check, too_many_bytes
from shared.settings import Settings

# What the service takes is for the service to say; these keep this process from harm.
_LIMITS = Limits(max_bytes=2**29, max_pixels=2**28, max_side=2**20)
_USUAL = limits.of_images(Settings.model_construct())
# Each holds a file and a decoded picture.
_decoders = threading.BoundedSemaphore(min(4, os.cpu_count() or 1))


@dataclass(frozen=True)
class Looked:
    """An image file, as it was when it was looked at. large: beyond what a service takes unless it is set otherwise."""

    file: Fingerprint
    picture: Picture
    large: bool = False


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
        with _decoders:
            data = file.path.read_bytes()
            image = check(data, _LIMITS)
    except OSError as error:
        return Broken(file.path, reason(error))
    except InvalidInput as error:
        return Broken(file.path, problem_line(error.to_problem()))
    large = image.width * image.height > _USUAL.max_pixels or max(image.width, image.height) > _USUAL.max_side
    return Looked(file, Picture(image.id, image.media_type, len(data)), large)


def reason(error: OSError) -> str:
    return error.strerror or str(error)
