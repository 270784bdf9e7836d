"""The Redis servers of docker-compose.yml, started by the words that stand there."""

from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.embedded import ports
from deploy.embedded.child import Command
from deploy.embedded.redis import RedisServer
from tests.deploy import compose


class Composed(RedisServer):
    """The file's command and the URL that it gives to our processes, on a port of this host."""

    def __init__(self, services: dict[str, Any], name: str, variable: str, folder: Path) -> None:
        super().__init__(folder, name=name)
        self.words = services[name]["command"]
        self.given = services["worker-llm"]["environment"][variable].replace(name, ports.HOST)

    @property
    def url(self) -> str:
        return self.given.replace(":6379", f":{self.port}")

    def command(self) -> Command:
        assert self.words[0] == "valkey-server"
        server = super().command().argv[0]
        where = ["--bind", ports.HOST, "--port", str(self.port)]
        return Command([server, *self.words[1:], *where], cwd=self.data_dir)


@pytest.mark.parametrize(
    ("name", "variable", "settings"),
    [
        (
            "redis-broker",
            "GLAMM_BROKER_URL",
            {"maxmemory": str(256 << 20), "maxmemory-policy": "noeviction", "appendonly": "yes"},
        ),
        (
            "redis-features",
            "GLAMM_FEATURES_URL",
            {"maxmemory": str(2 << 30), "maxmemory-policy": "allkeys-lru", "appendonly": "no", "save": ""},
        ),
    ],
)
def test_it_is_set_as_its_task_wants_and_opens_to_its_password_alone(
    tmp_path: Path, name: str, variable: str, settings: dict[str, str]
) -> None:
    services = compose.load("docker-compose.yml", environment=compose.SECRETS)["services"]
    with Composed(services, name, variable, tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.config_get(*settings) == settings
        once = Retry(NoBackoff(), retries=0)
        stranger = redis.Redis(host=ports.HOST, port=server.port, retry=once)
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        arguments = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert compose.SECRETS["REDIS_PASSWORD"] not in arguments, "arguments are for everybody to see"
