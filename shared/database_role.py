"""The Postgres role that the service's processes use: no superuser, and the owner of its database."""

from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from shared.database import CONNECT_SECONDS, libpq_url

Connection = psycopg.Connection[tuple[Any, ...]]

# Tables are all that migrations make; indexes and sequences go along with theirs.
_TABLES_OF_OTHERS = """
SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner <> %s ORDER BY tablename
"""


def ensure_role(admin_url: str, url: str) -> None:
    """Let the role and the database that `url` names exist, the one owning the other with all its tables.

    Safe to repeat. A role that exists gets the password of `url` and is no superuser from then on; a database that
    somebody else made and filled, the superuser for example, changes hands.

    Args:
        admin_url: of a superuser, to any database of the server.
        url: role, password and database; the host is the one of `admin_url`.

    Raises:
        psycopg.Error: the server is away, or refuses.
    """
    wanted = make_url(url)
    role, database = sql.Identifier(wanted.username or ""), sql.Identifier(wanted.database or "")
    with _connect(admin_url) as connection:
        if _knows(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", wanted.username):
            connection.execute(sql.SQL("ALTER ROLE {} NOSUPERUSER LOGIN").format(role))
        else:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        verifier = _verifier(connection, str(wanted.username), str(wanted.password or ""))
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(verifier)))
        if _knows(connection, "SELECT 1 FROM pg_database WHERE datname = %s", wanted.database):
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
        else:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
    inside = make_url(admin_url).set(database=wanted.database).render_as_string(hide_password=False)
    with _connect(inside) as connection, connection.transaction():
        for schema, table in connection.execute(_TABLES_OF_OTHERS, [wanted.username]).fetchall():
            statement = sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(schema, table), role)
            connection.execute(statement)


def _connect(url: str) -> Connection:
    return psycopg.connect(libpq_url(url), autocommit=True, connect_timeout=CONNECT_SECONDS)


def _knows(connection: Connection, question: str, name: str | None) -> bool:
    return connection.execute(question, [name]).fetchone() is not None


def _verifier(connection: Connection, role: str, password: str) -> str:
    """What the server keeps in place of the password, made here so that no log of statements can show it."""
    return connection.pgconn.encrypt_password(password.encode(), role.encode()).decode()
