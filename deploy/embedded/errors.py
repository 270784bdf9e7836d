"""What can go wrong when the embedded stack starts, as messages meant for the person at the terminal."""

from pathlib import Path


class EmbeddedError(RuntimeError):
    """The stack cannot run. `str()` of it is one or two lines: what happened and what to do."""


class StartError(EmbeddedError):
    """A process ended, or stayed unready, while it was being started."""

    def __init__(self, name: str, reason: str, log: Path) -> None:
        last = last_lines(log, 1)
        ends = f"; it ends with: {last}" if last else ""
        super().__init__(f"{name} did not start: {reason}. Its log is {log}{ends}")
        self.name = name
        self.log = log


class DataInUseError(EmbeddedError):
    """Another stack runs on the same data folder."""

    def __init__(self, data_dir: Path, pid: int | None, url: str | None) -> None:
        known = ", ".join(str(word) for word in (pid and f"process {pid}", url) if word)
        super().__init__(
            f"the data folder {data_dir} is in use by another stack{f' ({known})' if known else ''}: "
            "stop that one or choose another --data"
        )
        self.pid = pid
        self.url = url


def last_lines(log: Path, count: int) -> str:
    """The last non-empty lines of a log file; empty where there is no such file."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 8192))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-count:])
