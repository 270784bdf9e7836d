"""Passwords for servers on loopback, where every local user may connect."""

import os
import secrets
from pathlib import Path


def secret(path: Path) -> str:
    """The secret kept in the file, readable by its owner alone; made at random the first time."""
    if path.exists() and (text := path.read_text().strip()):
        return text
    path.parent.mkdir(parents=True, exist_ok=True)
    value = secrets.token_hex(16)
    write_private(path, value + "\n")
    return value


def write_private(path: Path, text: str) -> None:
    """Replace the file as a whole, never readable by others."""
    draft = path.with_name(path.name + ".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
