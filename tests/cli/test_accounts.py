"""`glamm database-role` and `glamm bucket-user`, as set-up runs them."""

import psycopg
import pytest

from shared.database import libpq_url
from shared.settings import get_settings


@pytest.fixture(autouse=True)
def _fresh_settings():
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_the_role_is_made_and_may_be_made_again(glamm, monkeypatch, postgres, role_to_be):
    monkeypatch.setenv("GLAMM_DATABASE_URL", role_to_be)
    monkeypatch.setenv("GLAMM_DATABASE_ADMIN_URL", postgres.admin_url)
    for _ in range(2):
        assert glamm("database-role") == (0, "the role of $GLAMM_DATABASE_URL owns its database\n", "")
    with psycopg.connect(libpq_url(role_to_be)) as connection:
        connection.execute("CREATE TABLE its_own (n int)")


@pytest.mark.parametrize(
    ("name", "variable"),
    [("database-role", "GLAMM_DATABASE_ADMIN_URL"), ("bucket-user", "GLAMM_S3_ADMIN_ACCESS_KEY")],
)
def test_without_an_administrator_one_line_names_the_variable(glamm, name, variable):
    code, out, err = glamm(name)
    assert (code, out) == (2, "")
    assert f" {variable} is not set. " in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("url", ["garbage", "postgresql://postgres@host:port/db"])
def test_an_address_that_is_none_is_one_line_and_exit_code_2(glamm, monkeypatch, url):
    monkeypatch.setenv("GLAMM_DATABASE_ADMIN_URL", url)
    code, out, err = glamm("database-role")
    assert (code, out) == (2, "")
    assert "GLAMM_DATABASE_ADMIN_URL is no URL" in err
    assert len(err.splitlines()) == 1


def test_a_refused_administrator_is_one_line_without_the_password(glamm, monkeypatch, postgres, role_to_be):
    monkeypatch.setenv("GLAMM_DATABASE_URL", role_to_be)
    monkeypatch.setenv("GLAMM_DATABASE_ADMIN_URL", role_to_be.replace("made-by-the-test", "wrong-word"))
    code, _, err = glamm("database-role")
    assert code == 1
    assert "password authentication failed" in err
    assert "wrong-word" not in err
    assert len(err.splitlines()) == 1


def test_an_object_store_that_is_away_is_one_line(glamm, monkeypatch):
    monkeypatch.setenv("GLAMM_S3_ENDPOINT", "127.0.0.1:1")
    monkeypatch.setenv("GLAMM_S3_ADMIN_ACCESS_KEY", "admin")
    monkeypatch.setenv("GLAMM_S3_ADMIN_SECRET_KEY", "admin-secret")
    code, _, err = glamm("bucket-user")
    assert code == 1
    assert err == "glamm: The object store does not answer. Try again shortly.\n"
