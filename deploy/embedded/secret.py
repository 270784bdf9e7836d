"""What other users of the host are kept from: passwords for servers on loopback, and what those servers keep."""

import os
import secrets
from pathlib import Path

from deploy.embedded.errors import EmbeddedError


def secret(path: Path) -> str:
    """The secret kept in the file, readable by its owner alone; made at random the first time."""
    if path.exists() and (text := path.read_text().strip()):
        return text
    path.parent.mkdir(parents=True, exist_ok=True)
    value = secrets.token_hex(16)
    write_private(path, value + "\n")
    return value


def make_private(folder: Path) -> None:
    """Make the folder, or take one that is there from others' eyes; servers make their files readable by everybody.

    Raises EmbeddedError where it belongs to somebody else.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        try:
            folder.chmod(0o700)
        except PermissionError as error:
            raise EmbeddedError(
                f"The folder {folder} belongs to another user.", field="--data", remedy="Choose another data folder."
            ) from error


def write_private(path: Path, text: str) -> None:
    """Replace the file as a whole, never readable by others."""
    draft = path.with_name(path.name + ".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
