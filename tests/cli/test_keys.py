"""`glamm keys` on a real service, and the first key of one."""

import json
import os
import stat
import subprocess
import sys

import pytest
from sqlalchemy import create_engine, text

from services.cli.client import GlammClient, Refused
from shared import access
from tests.cli.conftest import PATIENCE


def test_the_stacks_key_is_its_users_alone(service):
    assert stat.S_IMODE((service.data / "api-key").stat().st_mode) == 0o600
    with GlammClient(service.url) as client, pytest.raises(Refused) as refused:
        client.list_keys()
    assert refused.value.problem.status == 401


def test_a_key_is_made_used_and_revoked(command, service, picture):
    made = command("keys", "create", "--data", service.data, "--owner", "bob", "--name", "laptop", "--json")
    assert made.code == 0, made.err
    key = json.loads(made.out)
    assert (key["owner"], key["scopes"]) == ("bob", ["read", "write"])
    elsewhere = ("--url", service.url, "--api-key", key["secret"])
    assert command("annotate", picture, *elsewhere, "--json").code == 0
    refused = command("keys", "list", *elsewhere)
    assert refused.code == 2
    assert "admin" in refused.err
    listed = command("keys", "list", "--data", service.data)
    (row,) = (line for line in listed.out.splitlines() if "laptop" in line)
    assert row.split()[0] == key["id"]
    assert key["secret"] not in listed.out
    revoked = command("keys", "revoke", "--data", service.data, key["id"], "--json")
    assert (revoked.code, json.loads(revoked.out)["id"]) == (0, key["id"])
    assert "revoked" in command("keys", "revoke", "--data", service.data, key["id"]).out
    assert '"revoked_at":"2' in command("keys", "list", "--data", service.data, "--json").out


def test_limits_are_set_and_shown_by_owner(command, service):
    def limits(*arguments):
        return command("keys", "limits", "--data", service.data, *arguments)

    assert command("keys", "create", "--data", service.data, "--owner", "a/b").code == 2
    assert command("keys", "create", "--data", service.data, "--owner", "carol smith").code == 0
    assert limits("carol smith", "--queued-jobs", 5).code == 0
    told = limits("carol smith", "--queued-jobs", 7000, "--json").out
    own = {"requests_per_minute": None, "stored_bytes": None, "queued_jobs": 7000}
    assert json.loads(told) == own
    shown = json.loads(limits("carol smith", "--json").out)
    assert (shown["own"], shown["in_force"]["queued_jobs"]) == (own, 7000)
    rows = {row[:20].strip(): row[20:].split() for row in limits("carol smith").out.splitlines()}
    assert rows["queued jobs"] == ["7,000", "0", "the", "owner's", "own"]
    assert rows["stored bytes"] == ["none", "0", "the", "service's", "settings"]
    both = limits("carol smith", "--reset", "--queued-jobs", 0)
    assert (both.code, len(both.err.splitlines())) == (2, 1)
    assert limits("carol smith", "--reset").code == 0
    assert json.loads(limits("carol smith", "--json").out)["own"] == own | {"queued_jobs": None}
    for options in ([], ["--reset"]):
        assert limits("nobody", *options).code == 2


def test_the_first_key_comes_from_the_environment(database_url, command, monkeypatch):
    monkeypatch.setenv("GLAMM_DATABASE_URL", database_url)
    monkeypatch.setenv("GLAMM_API_KEY", "too-short")
    from shared.settings import get_settings

    get_settings.cache_clear()
    try:
        refused = command("keys", "bootstrap")
        assert (refused.code, len(refused.err.splitlines())) == (2, 1)
        monkeypatch.setenv("GLAMM_API_KEY", "long-enough-to-be-a-key-1")
        assert [command("keys", "bootstrap").out.split()[-1] for _ in range(2)] == ["made", "exists"]
    finally:
        get_settings.cache_clear()
    engine = create_engine(database_url)
    with engine.begin() as connection:
        found = access.find_principal(connection, "long-enough-to-be-a-key-1")
        assert found is not None
        assert (found.owner, found.scopes) == ("local", frozenset(access.Scope))
        (hint,) = connection.execute(text("SELECT hint FROM api_keys")).scalars()
        assert hint == "long"
    engine.dispose()


def test_a_gateway_that_others_can_reach_wants_a_key_first(settings_environment):
    environment = os.environ | settings_environment | {"GLAMM_GATEWAY_HOST": "0.0.0.0", "GLAMM_GATEWAY_PORT": "0"}
    ended = subprocess.run(
        [sys.executable, "-m", "services.gateway"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 2
    line = json.loads(ended.stderr.splitlines()[-1])
    assert (line["event"], line["field"]) == ("process.not_started", "GLAMM_GATEWAY_HOST")
    assert "glamm keys bootstrap" in line["remedy"]
