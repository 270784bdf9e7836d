"""Which running service a command speaks to."""

import json
import os
from pathlib import Path

from shared.errors import InvalidInput


def service_url(url: str | None, data: Path) -> str:
    """`--url`, else $GLAMM_URL, else the stack that runs on the data folder. Raises InvalidInput if there is none."""
    named = url or os.environ.get("GLAMM_URL")
    if named:
        if not named.startswith(("http://", "https://")):
            field = "--url" if url else "GLAMM_URL"
            raise InvalidInput(field, f"{named!r} is not the URL of a service.", "Write http://HOST:PORT.")
        return named.rstrip("/")
    running = _running(data)
    if running is None:
        raise InvalidInput(
            "--url", f"No service runs on {data}.", "Start one with `glamm up`, or name one with --url or GLAMM_URL."
        )
    return running


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
