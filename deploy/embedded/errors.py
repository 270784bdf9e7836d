"""What can go wrong when the embedded stack starts, told to the person at the terminal."""

import json
from pathlib import Path

from shared.errors import GlammError


class EmbeddedError(GlammError):
    """The embedded stack cannot run."""

    title = "The embedded stack cannot run"
    type_slug = "embedded"


class StartError(EmbeddedError):
    """A process ended, or stayed unready, while it was being started."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        last = _told(last_line(log))
        super().__init__(
            f"{name} did not start: {reason}." + (f" Its log ends with: {_sentence(last)}" if last else ""),
            remedy=f"Read {log}.",
        )


class DataInUseError(EmbeddedError):
    """Another stack runs on the same data folder."""

    def __init__(self, data_dir: Path, pid: int | None, url: str | None) -> None:
        known = ", ".join(word for word in (f"process {pid}" if pid else "", url or "") if word)
        super().__init__(
            f"The data folder {data_dir} is in use by another stack{f' ({known})' if known else ''}.",
            remedy="Stop that one, or choose another folder with --data.",
        )
        self.pid = pid
        self.url = url


def _told(line: str) -> str:
    """Of an event of our own processes what went wrong and what to do; any other line as it is."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict) or not isinstance(event.get("error"), str):
        return line
    return " ".join([_sentence(event["error"]), event.get("remedy") or ""]).strip()


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def last_line(log: Path) -> str:
    """The last line of a log file that is not blank; empty where there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 8192))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
