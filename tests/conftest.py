"""Real servers for the tests: started once a session, and an own database, bucket and empty queues for each test."""

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import minio
import psutil
import psycopg
import pytest
import redis
import sqlalchemy
from psycopg import sql

from deploy.embedded import ports
from deploy.embedded.postgres import PostgresServer
from deploy.embedded.redis import RedisServer
from deploy.embedded.s3 import S3Server

if TYPE_CHECKING:
    from shared.settings import Settings
    from tests.storehouse import Storehouse


MEMORY = Path("/dev/shm")
PREFIX = "glamm-tests-"
"""Of a session's folder there; the number of its process follows."""
ROOM = 2 << 30
"""Bytes that have to be free there."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long first: begun last, it would keep one of two processes while the other has nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """The shell's own GLAMM_ variables must not change what a test sees."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GLAMM_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _hears_all_signals() -> None:
    """Under nohup, or in a background job, this process and so all that it starts would be deaf to some signals."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres(servers_dir: Path) -> Iterator[PostgresServer]:
    with _in_memory(servers_dir) as folder, PostgresServer(folder / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresServer) -> str:
    """SQLAlchemy URL of the server's own database, which has no tables."""
    return postgres.url


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """Name of a migrated database that tests copy."""
    from shared.database import migrate

    name = "glamm_template"
    _execute(postgres.url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrate(postgres.url_of(name))
    return name


@pytest.fixture
def empty_database_url(postgres: PostgresServer) -> Iterator[str]:
    """SQLAlchemy URL of a database without tables, of this test alone."""
    with _database(postgres, template="template1") as url:
        yield url


@pytest.fixture
def role_to_be(postgres: PostgresServer) -> Iterator[str]:
    """SQLAlchemy URL that names a role and a database which the test may make; both are gone after it."""
    name = f"test_{uuid.uuid4().hex}"
    yield f"postgresql+psycopg://{name}:made-by-the-test@{ports.HOST}:{postgres.port}/{name}"
    for statement in ("DROP DATABASE IF EXISTS {} WITH (FORCE)", "DROP ROLE IF EXISTS {}"):
        _execute(postgres.admin_url, sql.SQL(statement).format(sql.Identifier(name)))


@pytest.fixture
def database_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """SQLAlchemy URL of a migrated, empty database, of this test alone."""
    with _database(postgres, template=migrated_template) as url:
        yield url


@pytest.fixture(scope="session")
def broker(servers_dir: Path) -> Iterator[RedisServer]:
    with RedisServer.broker(servers_dir / "broker") as server:
        yield server


@pytest.fixture(scope="session")
def features(servers_dir: Path) -> Iterator[RedisServer]:
    with RedisServer.features(servers_dir / "features", max_bytes=256 << 20) as server:
        yield server


@pytest.fixture
def broker_url(broker: RedisServer) -> Iterator[str]:
    """URL of a broker that is empty when the test begins."""
    _flush(broker.url)
    yield broker.url
    _flush(broker.url)


@pytest.fixture
def features_url(features: RedisServer) -> Iterator[str]:
    """URL of a features store that is empty when the test begins."""
    _flush(features.url)
    yield features.url
    _flush(features.url)


@pytest.fixture(scope="session")
def s3(servers_dir: Path) -> Iterator[S3Server]:
    with S3Server(servers_dir / "objects") as server:
        yield server


@pytest.fixture
def object_settings(s3: S3Server) -> Iterator[dict[str, str]]:
    """The s3_* settings of a bucket of this test alone; the test makes it, or `ObjectStore.ensure_bucket` does."""
    bucket = f"test-{uuid.uuid4().hex}"
    yield {
        "s3_endpoint": s3.endpoint,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
        "s3_bucket": bucket,
    }
    client = minio.Minio(s3.endpoint, s3.access_key, s3.secret_key, secure=False, region="us-east-1")
    if client.bucket_exists(bucket):
        for found in client.list_objects(bucket, recursive=True):
            assert found.object_name is not None
            client.remove_object(bucket, found.object_name)
        client.remove_bucket(bucket)


@pytest.fixture
def settings(database_url: str, broker_url: str, features_url: str, object_settings: dict[str, str]) -> "Settings":
    """Settings of a service on this test's own database, queues and bucket."""
    from shared.settings import Settings

    return Settings(database_url=database_url, broker_url=broker_url, features_url=features_url, **object_settings)


@pytest.fixture
def storehouse(settings: "Settings") -> "Iterator[Storehouse]":
    from tests.storehouse import Storehouse

    storehouse = Storehouse(settings)
    yield storehouse
    storehouse.close()


@pytest.fixture
def settings_environment(settings: "Settings") -> dict[str, str]:
    """The same settings as GLAMM_ variables, for processes that a test starts."""
    names = ("database_url", "broker_url", "features_url", "s3_endpoint", "s3_access_key", "s3_bucket")
    values = {name: str(getattr(settings, name)) for name in names}
    values["s3_secret_key"] = settings.s3_secret_key.get_secret_value()
    return {f"GLAMM_{name.upper()}": value for name, value in values.items()}


@contextmanager
def _in_memory(otherwise: Path) -> Iterator[Path]:
    """A folder for the hundreds of files that each test's database is made of: a disk takes several times as long."""
    for left in MEMORY.glob(f"{PREFIX}*"):  # by sessions that were killed
        number = left.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    if not (os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM):
        yield otherwise
        return
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _database(postgres: PostgresServer, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    _execute(postgres.url, create)
    try:
        yield postgres.url_of(name)
    finally:
        # FORCE ends whatever works in the database. That may be autovacuum, which only a superuser may end so.
        _execute(postgres.admin_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(url: str, statement: sql.Composed) -> None:
    plain = sqlalchemy.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement)


def _flush(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.flushall()
