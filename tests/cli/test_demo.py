"""`glamm demo` from the first process to the last, and interrupted at its busiest."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest
from PIL import Image

from services.cli.local import SAMPLES
from tests.tiny import write_checkpoint

PATIENCE = 300.0

pytestmark = pytest.mark.long


@pytest.fixture
def demo(tmp_path) -> Callable[[], subprocess.Popen[bytes]]:
    """Starts the command on this test's folder, with a model that a test can afford."""
    checkpoint = write_checkpoint(tmp_path)

    def start() -> subprocess.Popen[bytes]:
        environment = os.environ | {"GLAMM_CHECKPOINT": str(checkpoint), "GLAMM_MAX_NEW_TOKENS": "6"}
        command = [sys.executable, "-m", "services.cli", "demo"]
        folders = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
        with (tmp_path / "log").open("wb") as log:
            return subprocess.Popen([*command, *folders], env=environment, stdout=log, stderr=log)

    return start


def family_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_the_demo_annotates_its_samples_and_leaves_nothing_running_even_when_interrupted(demo, tmp_path):
    samples = [path for path in SAMPLES.iterdir() if path.suffix != ".md"]
    first = demo()
    family = seen_until(first, lambda: (tmp_path / "data" / "stack.json").exists(), tmp_path / "log")
    assert first.wait(PATIENCE) == 0, (tmp_path / "log").read_text()

    told = (tmp_path / "log").read_text()
    assert [member for member in family if member.is_running()] == []
    for sample in samples:
        assert sample.name in told
        overlay = tmp_path / "out" / f"{sample.stem}.overlay.png"
        assert str(overlay) in told
        assert Image.open(overlay).height > Image.open(sample).height
        overlay.unlink()

    second = demo()
    family = seen_until(second, lambda: any((tmp_path / "out").glob("*.png")), tmp_path / "log")
    second.send_signal(signal.SIGINT)
    assert second.wait(PATIENCE) == 130, (tmp_path / "log").read_text()
    assert [member for member in family if member.is_running()] == []
    assert "Traceback" not in (tmp_path / "log").read_text()


def seen_until(process: subprocess.Popen[bytes], reached: Callable[[], bool], log: Path) -> list[psutil.Process]:
    """Wait for a moment in the life of the process; returns the processes that it has started by then."""
    deadline = monotonic() + PATIENCE
    while not reached():
        assert process.poll() is None, log.read_text()
        assert monotonic() < deadline, log.read_text()
        sleep(0.05)
    return family_of(process)
