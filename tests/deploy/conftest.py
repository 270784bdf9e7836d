"""What the tests of the embedded stack share: asking the kernel who is still there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until the condition holds; the limit is only there to end a test that would hang."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true"
        time.sleep(0.05)


def processes_of(folder: Path) -> dict[int, str]:
    """Processes that work in the folder, or name it in their arguments or environment: pid → command line."""
    found = {}
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            traces = [process.cwd(), *process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(folder) in trace for trace in traces) and process.status() != psutil.STATUS_ZOMBIE:
            found[process.pid] = " ".join(process.cmdline())
    return found


class Runner:
    """A Python program in a process of its own, with its folder in the environment so that descendants are found."""

    def __init__(self, program: str, folder: Path, output: Path) -> None:
        self.folder = folder
        self.output = output
        folder.mkdir(exist_ok=True)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, "TEST_FOLDER": str(folder)}
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-c", program],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def says(self, text: str) -> bool:
        assert self.process.poll() is None or text in self.text, self.text
        return text in self.text

    @property
    def text(self) -> str:
        return self.output.read_text()

    def has(self, command: str) -> bool:
        assert self.process.poll() is None, self.text
        return any(command in line for line in processes_of(self.folder).values())

    def end_with(self, number: signal.Signals) -> int:
        """Send the signal and wait for the end; the exit code as subprocess has it."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def nothing_is_left(self) -> bool:
        return not processes_of(self.folder)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], Runner]]:
    """Start a program on this test's folder; whatever it leaves behind in a failing test is ended."""
    runners: list[Runner] = []

    def start(program: str) -> Runner:
        runners.append(Runner(program, tmp_path / "data", tmp_path / f"output{len(runners)}"))
        return runners[-1]

    yield start
    for runner in runners:
        if runner.process.poll() is None:
            runner.process.kill()
            runner.process.wait()
    for pid in processes_of(tmp_path / "data"):
        os.kill(pid, signal.SIGKILL)
