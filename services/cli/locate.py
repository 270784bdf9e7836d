"""Which running service a command speaks to, and with which key."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import InvalidInput

if TYPE_CHECKING:
    from services.cli.client import GlammClient


@dataclass(frozen=True)
class Address:
    """api_key: None for a service that asks for none."""

    url: str
    api_key: str | None


def client(url: str | None, api_key: str | None, data: Path, **options: float) -> "GlammClient":
    """A client of the service that `address` finds. options: those of GlammClient. Raises InvalidInput."""
    from services.cli.client import GlammClient

    found = address(url, api_key, data)
    return GlammClient(found.url, api_key=found.api_key, **options)


def address(url: str | None, api_key: str | None, data: Path) -> Address:
    """`--url`, else $GLAMM_URL, else the stack that runs on the data folder. Raises InvalidInput if there is none.

    The key is `--api-key`, else $GLAMM_API_KEY, else, for the stack on the data folder, its own.
    """
    running = _running(data)
    named = url or os.environ.get("GLAMM_URL")
    if named and not named.startswith(("http://", "https://")):
        field = "--url" if url else "GLAMM_URL"
        raise InvalidInput(field, f"{named!r} is not the URL of a service.", "Write http://HOST:PORT.")
    found = (named or running or "").rstrip("/")
    if not found:
        raise InvalidInput(
            "--url", f"No service runs on {data}.", "Start one with `glamm up`, or name one with --url or GLAMM_URL."
        )
    key = api_key or os.environ.get("GLAMM_API_KEY") or (_own_key(data) if found == running else None)
    if key is not None and not (key.isascii() and key.isprintable()):
        field = "--api-key" if api_key else "GLAMM_API_KEY"
        raise InvalidInput(field, "The API key holds characters that no key has.", "Send it as it was shown.")
    return Address(found, key)


def _running(data: Path) -> str | None:
    """The gateway of a stack whose process lives. A stack that was killed leaves its file behind."""
    try:
        state = json.loads((data / "stack.json").read_text(encoding="utf-8"))
        pid, url = int(state["pid"]), str(state["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it lives, as another user
    return url


def _own_key(data: Path) -> str | None:
    """That of the stack, which its user alone can read."""
    try:
        return (data / "api-key").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
