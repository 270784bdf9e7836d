"""Commands that install the service: their lines for people, or events for whoever collects the service's log."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.postgres import PostgresServer

ROOT = Path(__file__).parents[2]


def run(*command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def event(ended: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_what_they_do_is_an_event_where_the_log_is_json_and_a_line_where_it_is_not(
    empty_database_url: str, object_settings: dict[str, str]
) -> None:
    environment = {f"GLAMM_{name.upper()}": value for name, value in object_settings.items()}
    environment |= {"GLAMM_DATABASE_URL": empty_database_url, "GLAMM_API_KEY": "long-enough-to-be-a-key-1"}
    commands = {
        ("migrate",): ("migrate", "database.migrated", "the database is up to date\n"),
        ("bucket",): ("bucket", "bucket.ensured", f"the bucket {object_settings['s3_bucket']} exists\n"),
        ("keys", "bootstrap"): ("keys-bootstrap", "key.ensured", "the key of $GLAMM_API_KEY exists\n"),
    }
    for command, (process, name, line) in commands.items():
        told = event(run(*command, **environment, GLAMM_LOG_FORMAT="json"))
        assert (told["process"], told["event"], told["level"]) == (process, name, "info")
        for plain in ({}, {"GLAMM_LOG_FORMAT": "console"}):
            ended = run(*command, **environment, **plain)
            assert (ended.returncode, ended.stdout, ended.stderr) == (0, line, "")


def test_the_role_that_was_made_is_an_event(postgres: PostgresServer, role_to_be: str) -> None:
    environment = {"GLAMM_DATABASE_URL": role_to_be, "GLAMM_DATABASE_ADMIN_URL": postgres.admin_url}
    told = event(run("database-role", **environment, GLAMM_LOG_FORMAT="json"))
    assert (told["process"], told["event"], told["level"]) == ("database-role", "role.ensured", "info")


@pytest.mark.parametrize(
    ("command", "environment", "status", "said"),
    [
        (("migrate",), {"GLAMM_DATABASE_URL": "postgresql+psycopg://g:x@127.0.0.1:1/g"}, 1, "GLAMM_DATABASE_URL"),
        (("migrate",), {"GLAMM_DATABASE_URL": "mysql://x"}, 2, "GLAMM_DATABASE_URL"),
        (("bucket",), {"GLAMM_S3_BUCKET": "Photos"}, 2, "GLAMM_S3_BUCKET"),
        (("keys", "bootstrap"), {"GLAMM_API_KEY": "short"}, 2, "GLAMM_API_KEY"),
        (
            ("keys", "bootstrap"),
            {
                "GLAMM_API_KEY": "long-enough-to-be-a-key-1",
                "GLAMM_DATABASE_URL": "postgresql+psycopg://g:x@127.0.0.1:1/g",
            },
            1,
            "GLAMM_DATABASE_URL",
        ),
        (("database-role",), {"GLAMM_DATABASE_ADMIN_URL": ""}, 2, "GLAMM_DATABASE_ADMIN_URL"),
        (("bucket-user",), {"GLAMM_S3_ADMIN_ACCESS_KEY": ""}, 2, "GLAMM_S3_ADMIN_ACCESS_KEY"),
    ],
)
def test_how_they_fail_is_an_event_too(
    command: tuple[str, ...], environment: dict[str, str], status: int, said: str
) -> None:
    ended = run(*command, **environment, GLAMM_LOG_FORMAT="json")
    told = event(ended)
    assert ended.returncode == status
    assert (told["event"], told["level"]) == ("process.failed", "error")
    assert said in told["error"]
    assert told["remedy"]
