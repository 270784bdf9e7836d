"""How a process without a port says that it is well: a small file that it writes anew with every heartbeat.

A probe reads the files, so it needs no broker, no database and hardly any time.
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from shared.logs import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class Beat:
    """What a process last said: until `good_until` (seconds since the epoch) it counts as well."""

    pid: int
    name: str
    good_until: float


class HealthFile:
    """The file of this process under its kind ("worker", "scheduler")."""

    def __init__(self, kind: str, name: str, good_for: float) -> None:
        self._path = _folder(kind) / f"{os.getpid()}.json"
        self._name = name
        self._good_for = good_for

    def beat(self) -> None:
        """Say that the process is well for the next `good_for` seconds. A disk that refuses is logged, no more."""
        beat = Beat(os.getpid(), self._name, time.time() + self._good_for)
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_text(json.dumps(asdict(beat)))
            fresh.replace(self._path)
        except OSError as error:
            log.warning("health.unwritten", error=str(error))

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def ailments(kind: str) -> list[str]:
    """What keeps the processes of this kind on this machine from being well; files of dead processes do not count."""
    beats = [_read(path) for path in sorted(_folder(kind).glob("*.json"))]
    alive = [beat for beat in beats if beat is not None and _is_alive(beat.pid)]
    if not alive:
        return [f"no {kind} is ready"]
    now = time.time()
    return [
        f"{beat.name} (pid {beat.pid}) has been silent for too long, by {now - beat.good_until:.0f} s"
        for beat in alive
        if beat.good_until < now
    ]


def last_beat(kind: str, pid: int) -> float | None:
    """When this one process last said that it is well, in seconds since the epoch; None if it never did."""
    try:
        return (_folder(kind) / f"{pid}.json").stat().st_mtime
    except FileNotFoundError:
        return None


def probe(kind: str) -> int:
    """Exit status for a health check: 0 when well, else 1 and a line on stderr for each ailment."""
    found = ailments(kind)
    for ailment in found:
        print(ailment, file=sys.stderr)
    return 1 if found else 0


def _folder(kind: str) -> Path:
    return Path(tempfile.gettempdir()) / f"glamm-{os.getuid()}" / kind


def _read(path: Path) -> Beat | None:
    try:
        return Beat(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None  # its process has just ended


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
