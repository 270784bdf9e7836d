"""Every process of ours in docker-compose.yml, started by its own command and environment, does a job and stops.

The servers are the tests' own; their addresses and accounts take the place of those in the file, and nothing else is
changed.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from PIL import Image, ImageDraw

from deploy.embedded import ports
from services.cli.client import GlammClient, Refused
from shared.settings import SHIPPED_CHECKPOINT
from tests.deploy import compose
from tests.deploy.conftest import PATIENCE

SERVERS = {"postgres", "redis-broker", "redis-features", "minio"}
OF_MINIO = {"bucket-user"}
"""Uses calls that the tests' object store does not have."""

pytestmark = pytest.mark.long


class Container:
    """A service of the file as a process: its environment alone, its own temporary folder, no home."""

    def __init__(self, name: str, service: dict[str, Any], stand_ins: dict[str, str], folder: Path) -> None:
        self.name = name
        self.service = service
        self.log = folder / "log"
        temporary = folder / "tmp"
        temporary.mkdir(parents=True)
        named = {variable: stand_ins.get(variable, value) for variable, value in service["environment"].items()}
        outside = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": str(temporary)}
        self.environment = outside | named
        self.stand_ins = stand_ins

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                self._command(self.service["command"]), cwd=compose.ROOT, env=self.environment, stdout=log, stderr=log
            )

    def healthy(self) -> bool:
        test = self.service["healthcheck"]["test"]
        probe = subprocess.run(
            self._command(test[1:]), cwd=compose.ROOT, env=self.environment, capture_output=True, check=False
        )
        return probe.returncode == 0

    def _command(self, words: list[str]) -> list[str]:
        """As in the image, where `python` is the one that has the dependencies."""
        assert words[0] == "python"
        port = self.stand_ins["GLAMM_GATEWAY_PORT"]
        return [sys.executable, *(word.replace(":8000", f":{port}") for word in words[1:])]

    def told(self) -> str:
        return f"{self.name} wrote:\n{self.log.read_text(errors='replace')[-4000:]}"


@contextmanager
def running(container: Container) -> Iterator[subprocess.Popen[bytes]]:
    """The process; ended at the exit with SIGTERM, upon which it must leave with 0."""
    process = container.start()
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, container.told()
    finally:
        process.kill()
        process.wait()


def wait_until_healthy(container: Container, process: subprocess.Popen[bytes]) -> None:
    deadline = monotonic() + PATIENCE
    while not container.healthy():
        assert process.poll() is None, container.told()
        assert monotonic() < deadline, container.told()
        sleep(0.5)


def in_start_order(services: dict[str, Any]) -> list[str]:
    """Every service after those that it waits for."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        for other in services[name].get("depends_on", {}):
            visit(other)
        if name not in ordered:
            ordered.append(name)

    for name in services:
        visit(name)
    return ordered


@pytest.fixture
def stand_ins(settings_environment, postgres, role_to_be, tmp_path) -> dict[str, str]:
    """What takes the place of the file's servers: nothing is set up in them yet."""
    return settings_environment | {
        "GLAMM_DATABASE_ADMIN_URL": postgres.admin_url,
        "GLAMM_DATABASE_URL": role_to_be,
        "GLAMM_CHECKPOINT": str(SHIPPED_CHECKPOINT),
        "GLAMM_GATEWAY_HOST": "127.0.0.1",
        "GLAMM_GATEWAY_PORT": str(ports.claim(tmp_path / "gateway.port")[0]),
    }


@pytest.fixture
def picture(tmp_path) -> bytes:
    canvas = Image.new("RGB", (160, 120), "steelblue")
    ImageDraw.Draw(canvas).ellipse((40, 30, 110, 100), fill="crimson")
    canvas.save(tmp_path / "picture.png")
    return (tmp_path / "picture.png").read_bytes()


def test_the_processes_start_in_order_do_a_job_and_stop(stand_ins, picture, tmp_path):
    services = compose.load("docker-compose.yml", environment=compose.SECRETS)["services"]
    with ExitStack() as stack:
        started: list[tuple[Container, subprocess.Popen[bytes]]] = []
        for name in in_start_order(services):
            if name in SERVERS | OF_MINIO:
                continue
            container = Container(name, services[name], stand_ins, tmp_path / name)
            if "healthcheck" in services[name]:
                started.append((container, stack.enter_context(running(container))))
            else:
                assert container.start().wait(PATIENCE) == 0, container.told()
        for container, process in started:
            wait_until_healthy(container, process)
            if container.service["image"].startswith("glamm-service"):
                assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text(), container.name

        url = f"http://127.0.0.1:{stand_ins['GLAMM_GATEWAY_PORT']}"
        with GlammClient(url) as client, pytest.raises(Refused, match="wants an API key"):
            client.upload_image(picture)
        with GlammClient(url, api_key=compose.SECRETS["API_KEY"]) as client:
            job = client.create_job(client.upload_image(picture).id)
            job = client.wait_for(job.id, timeout=PATIENCE)
        assert job.state == "succeeded", job.error
        assert job.result is not None
        assert {run.stage for run in job.stages} == {"vision", "llm", "pixel"}
