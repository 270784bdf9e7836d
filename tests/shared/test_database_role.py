"""The role of the service's processes, made by a superuser on a real server."""

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import make_url

from shared import access
from shared.database import create_engine, libpq_url, migrate
from shared.database_role import ensure_role
from shared.scopes import Scope


@pytest.fixture
def admin(postgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        yield connection


def as_superuser(postgres, url: str) -> str:
    """SQLAlchemy URL of the superuser to the database of `url`."""
    admin = make_url(postgres.admin_url).set(drivername="postgresql+psycopg", database=make_url(url).database)
    return admin.render_as_string(hide_password=False)


def make_a_key(url: str) -> bool:
    engine = create_engine(url, 1)
    with engine.begin() as connection:
        made = access.ensure_key(connection, "local", list(Scope), "a-key-of-24-characters-or-more", "a test's")
    engine.dispose()
    return made


def test_on_a_new_server_role_and_database_are_made_and_the_service_can_use_them(postgres, role_to_be, admin):
    for _ in range(2):
        ensure_role(postgres.admin_url, role_to_be)
    migrate(role_to_be)
    assert make_a_key(role_to_be)
    rights = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = %s"
    assert admin.execute(rights, [make_url(role_to_be).username]).fetchone() == (False, False, False, False)
    with psycopg.connect(libpq_url(role_to_be)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("COPY (SELECT 1) TO PROGRAM 'cat'")


def test_a_database_that_the_superuser_made_and_filled_goes_on_under_the_role(postgres, role_to_be, admin):
    """As in a volume from the time when the service's processes were the superuser."""
    name = make_url(role_to_be).database
    admin.execute(f'CREATE DATABASE "{name}"')
    migrate(as_superuser(postgres, role_to_be), "0009")
    assert make_a_key(as_superuser(postgres, role_to_be))
    ensure_role(postgres.admin_url, role_to_be)
    migrate(role_to_be)
    assert not make_a_key(role_to_be), "the key is there still"
    engine = sqlalchemy.create_engine(role_to_be)
    with engine.connect() as connection:
        owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert connection.execute(sqlalchemy.text(owners)).scalars().all() == [name]
    engine.dispose()


def test_a_role_that_exists_gets_the_password_and_is_a_superuser_no_more(postgres, role_to_be, admin):
    name = make_url(role_to_be).username
    admin.execute(f"CREATE ROLE \"{name}\" SUPERUSER LOGIN PASSWORD 'an-older-one'")
    ensure_role(postgres.admin_url, role_to_be)
    with psycopg.connect(libpq_url(role_to_be)) as connection:
        assert connection.execute("SHOW is_superuser").fetchone() == ("off",)
    old = make_url(libpq_url(role_to_be)).set(password="an-older-one").render_as_string(hide_password=False)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(old)


def test_the_superuser_itself_is_not_made_the_role(postgres, role_to_be):
    with pytest.raises(psycopg.Error, match="superuser"):
        ensure_role(postgres.admin_url, as_superuser(postgres, role_to_be))
