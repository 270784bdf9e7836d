"""Each server of the embedded stack alone: it starts, keeps what it was given through a kill, and ends."""

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path

import minio
import psutil
import psycopg
import pytest
import redis
import sqlalchemy
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.embedded import ports
from deploy.embedded.errors import EmbeddedError, StartError
from deploy.embedded.postgres import PostgresServer
from deploy.embedded.redis import RedisServer
from deploy.embedded.s3 import GRPC_OFFSET, S3Server
from deploy.embedded.unit import Unit
from tests.deploy.conftest import PATIENCE


def connect(server: PostgresServer) -> psycopg.Connection[tuple[object, ...]]:
    url = sqlalchemy.make_url(server.url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(url, autocommit=True)


def objects(server: S3Server) -> minio.Minio:
    return minio.Minio(server.endpoint, server.access_key, server.secret_key, secure=False, region="us-east-1")


def kill(server: Unit) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert server.child is not None
    assert server.child.wait(PATIENCE) == -signal.SIGKILL


def test_postgres_keeps_what_was_committed_when_it_is_killed(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "a folder, with 'signs'")
    with server:
        with connect(server) as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        url = server.url
        kill(server)
        server.start()
        assert server.url == url
        with connect(server) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]
    assert not server.alive


def test_postgres_is_durable_and_its_role_may_not_run_programs(postgres: PostgresServer) -> None:
    with connect(postgres) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY (SELECT 1) TO PROGRAM 'cat'")


def test_what_the_role_may_not_end_the_superuser_may(postgres: PostgresServer) -> None:
    """Autovacuum may work in a database that the role wants to drop."""
    with connect(postgres) as role, psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        role.execute("CREATE DATABASE doomed")
        with psycopg.connect(postgres.admin_url, dbname="doomed"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                role.execute("DROP DATABASE doomed WITH (FORCE)")
            admin.execute("DROP DATABASE doomed WITH (FORCE)")


def test_postgres_lets_nobody_in_without_its_password(postgres: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=ports.HOST, port=postgres.port, user="glamm", password="glamm", dbname="glamm")
    password_files = list(postgres.data_dir.glob("*.password"))
    assert {path.name for path in password_files} == {"glamm.password", "postgres.password"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in password_files)


def test_postgres_starts_over_a_stale_pid_file_and_a_half_made_cluster(tmp_path: Path) -> None:
    (tmp_path / "cluster.new").mkdir()
    (tmp_path / "cluster.new" / "PG_VERSION").write_text("18\n")
    with PostgresServer(tmp_path) as server:
        pass
    (server.cluster / "postmaster.pid").write_text(f"{os.getpid()}\n{server.cluster}\n")
    with PostgresServer(tmp_path) as again, connect(again) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_postgres_says_when_the_cluster_is_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedError, match=r"made by PostgreSQL 14"):
        PostgresServer(tmp_path).start()


def test_the_broker_keeps_messages_and_never_evicts(tmp_path: Path) -> None:
    with RedisServer.broker(tmp_path / "a folder") as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            client.config_set("appendfsync", "always")
            client.lpush("queue", "message")
        kill(server)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.lrange("queue", 0, -1) == [b"message"]


def test_the_features_store_evicts_and_keeps_nothing_on_disk(tmp_path: Path) -> None:
    with RedisServer.features(tmp_path, max_bytes=8 << 20) as server:
        with redis.Redis.from_url(server.url) as client:
            for n in range(32):
                client.set(f"feature:{n}", os.urandom(1 << 20))
            assert 0 < client.dbsize() < 32
        server.stop()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0


def test_redis_lets_nobody_in_without_its_password(broker: RedisServer) -> None:
    once = Retry(NoBackoff(), retries=0)
    with redis.Redis(host=ports.HOST, port=broker.port, retry=once) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    assert (broker.data_dir / "redis.conf").stat().st_mode & 0o077 == 0


def test_the_object_store_keeps_objects_when_it_is_killed_and_moves_ports(tmp_path: Path) -> None:
    with S3Server(tmp_path / "a folder, two") as server:
        client = objects(server)
        client.make_bucket("glamm")
        client.put_object("glamm", "images/1", io.BytesIO(b"pixels"), 6)
        kill(server)
        server.choose_ports(again=True)
        server.start()
        assert objects(server).get_object("glamm", "images/1").data == b"pixels"


def test_servers_listen_on_loopback_alone(postgres: PostgresServer, broker: RedisServer, s3: S3Server) -> None:
    for server in (postgres, broker, s3):
        listening = [c for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert listening
        assert {c.laddr.ip for c in listening} == {ports.HOST}


def test_a_server_moves_when_its_port_was_taken_meanwhile(tmp_path: Path, broker: RedisServer) -> None:
    (tmp_path / "port").write_text(f"{broker.port}\n")
    with RedisServer.broker(tmp_path) as server:
        assert server.port != broker.port

    class TakenAfterTheChoice(RedisServer):
        def prepare(self) -> None:
            if self.port != moved_to:
                self.port = broker.port
            super().prepare()

        def choose_ports(self, again: bool) -> bool:
            chosen = super().choose_ports(again)
            if again:
                nonlocal moved_to
                moved_to = self.port
            return chosen

    moved_to = 0
    with TakenAfterTheChoice(tmp_path / "two") as late:
        assert late.port == moved_to != broker.port
        assert late.probe()


def test_a_server_that_cannot_start_says_why_and_where_its_log_is(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, eviction="no-such-policy")
    with pytest.raises(StartError, match=r"redis did not start: it ended with code 1\. .*") as caught:
        server.start()
    assert caught.value.remedy == f"Read {tmp_path / 'redis.log'}."
    assert not server.alive


def test_the_object_store_leaves_nothing_outside_its_folder(tmp_path: Path) -> None:
    def outside() -> set[Path]:
        return {path for path in Path("/tmp").iterdir() if path.name.startswith(("seaweedfs-", "weed."))}

    with S3Server(tmp_path / "one") as server:
        own = [str(port + GRPC_OFFSET) for port in server.ports.values()]
    assert not [path for path in outside() if any(port in path.name for port in own)]
    assert (tmp_path / "one" / "objects.log").read_text()


def test_what_a_killed_object_store_left_outside_is_gone_after_its_next_start(tmp_path: Path) -> None:
    def left() -> list[Path]:
        return [path for port in killed for path in Path("/tmp").glob(f"seaweedfs-*-{port + GRPC_OFFSET}.sock")]

    with S3Server(tmp_path) as server:
        killed = list(server.ports.values())
        kill(server)
        assert left()
        # A server of another process, which knows of the ports by the folder alone, and takes others.
        S3Server(tmp_path).choose_ports(again=True)
        assert not left()


@pytest.mark.parametrize("server_of", [RedisServer.broker, S3Server])
def test_what_a_server_keeps_is_kept_from_other_users(
    tmp_path: Path, server_of: Callable[[Path], RedisServer | S3Server]
) -> None:
    """In a folder that was there before, too."""
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o755)
    with server_of(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
