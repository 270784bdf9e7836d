"""What the migrations build is what the tables say, and they may be run by several processes at once."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, select, text

from shared.database import create_engine, migrate
from shared.tables import LOCAL_OWNER, batches, images, jobs, metadata

CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid <> coalesce(to_regclass('alembic_version'), 0)
    ORDER BY 1, 2
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1"
COLUMNS = """
    SELECT attrelid::regclass::text, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
           pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND relname <> 'alembic_version'
    ORDER BY 1, 2
"""

Connect = Callable[[str], Engine]


@pytest.fixture
def connect() -> Iterator[Connect]:
    engines: list[Engine] = []

    def connect(url: str) -> Engine:
        engines.append(create_engine(url))
        return engines[-1]

    yield connect
    for engine in engines:
        engine.dispose()


def catalog(engine: Engine) -> list[list[tuple[object, ...]]]:
    with engine.connect() as conn:
        return [[tuple(row) for row in conn.execute(text(query))] for query in (COLUMNS, CONSTRAINTS, INDEXES)]


def test_alembic_finds_nothing_to_add(database_url: str, connect: Connect) -> None:
    with connect(database_url).connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_migrations_build_what_the_tables_say_to_the_last_constraint(
    database_url: str, empty_database_url: str, connect: Connect
) -> None:
    made = connect(empty_database_url)
    metadata.create_all(made)
    assert catalog(connect(database_url)) == catalog(made)


def test_several_processes_may_migrate_at_once(empty_database_url: str, connect: Connect) -> None:
    program = "import sys; from shared.database import migrate; migrate(sys.argv[1])"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program, empty_database_url]
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    with connect(empty_database_url).connect() as conn:
        assert conn.scalar(text("SELECT count(*) FROM alembic_version")) == 1
        assert conn.scalar(text("SELECT count(*) FROM jobs")) == 0


def test_what_was_stored_before_there_were_owners_belongs_to_the_local_one(
    empty_database_url: str, connect: Connect
) -> None:
    migrate(empty_database_url, "0001")
    engine = connect(empty_database_url)
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO images (id, object_key, media_type, width, height, bytes)"
                " VALUES (repeat('ab', 32), 'images/ab/x', 'image/png', 4, 3, 9)"
            )
        )
        conn.execute(
            text(
                "INSERT INTO jobs (id, image_id, task, expires_at)"
                " VALUES (gen_random_uuid(), repeat('ab', 32), 'gcg', now() + interval '1 day')"
            )
        )
    migrate(empty_database_url)
    with engine.begin() as conn:
        (key,) = conn.execute(select(images.c.object_key).where(images.c.owner_id == LOCAL_OWNER)).scalars()
        (owner,) = conn.execute(select(jobs.c.owner_id)).scalars()
    assert (key, owner) == ("images/ab/x", LOCAL_OWNER)


def test_finished_batches_are_counted_again(empty_database_url: str, connect: Connect) -> None:
    migrate(empty_database_url, "0010")
    engine = connect(empty_database_url)
    with engine.begin() as conn:
        for name, count in (("a", 2), ("b", 0), ("c", 1)):
            batch = conn.scalar(
                text(
                    "INSERT INTO batches (id, owner_id, name, jobs, priority, expires_at, finished_at, counts)"
                    " VALUES (gen_random_uuid(), :owner, :name, :count, 0, now(), now(), '{\"canceled\": 3}')"
                    " RETURNING id"
                ),
                {"owner": LOCAL_OWNER, "name": name, "count": count},
            )
            conn.execute(
                text(
                    "INSERT INTO jobs (id, source, task, owner_id, batch_id, line, state, expires_at, finished_at)"
                    " SELECT gen_random_uuid(), 's3://photos/1.png', 'gcg', :owner, :batch, n, 'canceled', now(), now()"
                    " FROM generate_series(1, :count) AS n"
                ),
                {"owner": LOCAL_OWNER, "batch": batch, "count": count},
            )
    migrate(empty_database_url)
    with engine.connect() as conn:
        found = conn.execute(select(batches.c.counts).order_by(batches.c.name)).scalars().all()
    assert found == [{"canceled": 2}, {}, {"canceled": 1}]
