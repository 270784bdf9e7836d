"""The service's own processes: `python -m …` with the environment of the stack."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from deploy.embedded import ports
from deploy.embedded.child import Command
from deploy.embedded.errors import EmbeddedError
from deploy.embedded.unit import Unit
from shared.health import last_beat

ROOT = Path(__file__).resolve().parents[2]
USUAL_PORT = 8000


def require_free(port: int) -> None:
    """Raise EmbeddedError where the port that was asked for is taken, or kept from this user."""
    if not ports.is_free(port):
        raise EmbeddedError(
            f"Port {port} is taken or not allowed.",
            field="--port",
            remedy="Choose another, or leave it out.",
        )


class PythonProcess(Unit):
    """`python -m MODULE ARGUMENTS`, ready from its first heartbeat under `kind` on."""

    def __init__(
        self, name: str, kind: str, module: str, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path
    ) -> None:
        super().__init__(name, log)
        self.kind = kind
        self.module = module
        self.arguments = arguments
        self.environment = environment
        self._launched_at = 0.0

    def prepare(self) -> None:
        self._launched_at = time.time()

    def command(self) -> Command:
        # The packages of this checkout, wherever the command was typed and whether or not they are installed.
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, **self.environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        return Command(
            [sys.executable, "-m", self.module, *self.arguments], env=environment, stop_signal=signal.SIGTERM
        )

    def probe(self) -> bool:
        beat = last_beat(self.kind, self.pid or 0)
        # A file that is older was left by a process that had the same number before.
        return beat is not None and beat >= self._launched_at


class Gateway(PythonProcess):
    """The gateway on `port`, or on a free one that it keeps from run to run in `port_file`."""

    def __init__(self, environment: Mapping[str, str], log: Path, port_file: Path, port: int | None) -> None:
        super().__init__("gateway", "gateway", "services.gateway", (), environment, log)
        self.port_file = port_file
        self.fixed_port = port
        self.port = port or 0

    @property
    def url(self) -> str:
        return f"http://{ports.HOST}:{self.port}"

    def choose_ports(self, again: bool) -> bool:
        if self.fixed_port is not None:
            require_free(self.fixed_port)
            return not again
        (self.port,) = ports.claim(self.port_file, usual=[USUAL_PORT], again=again)
        return True

    def listens_on(self) -> tuple[int, ...]:
        return (self.port,)

    def command(self) -> Command:
        where = {"GLAMM_GATEWAY_HOST": ports.HOST, "GLAMM_GATEWAY_PORT": str(self.port)}
        self.environment = {**self.environment, **where}
        return super().command()

    def probe(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
