"""Settings come from the environment, and a wrong one is told in a line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.errors import InvalidSettings
from shared.settings import SHIPPED_CHECKPOINT, Settings, get_settings


@pytest.fixture(autouse=True)
def _fresh_settings() -> None:
    get_settings.cache_clear()


def test_every_setting_has_a_default_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    assert settings.checkpoint == SHIPPED_CHECKPOINT
    assert settings.heartbeat_seconds == settings.lease_seconds / 4
    assert "glamm-secret" not in repr(settings)


def test_the_environment_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLAMM_LEASE_SECONDS", "8")
    monkeypatch.setenv("GLAMM_CHECKPOINT", "/models/glamm")
    monkeypatch.setenv("GLAMM_TORCH_THREADS", "")
    settings = get_settings()
    assert (settings.lease_seconds, settings.heartbeat_seconds) == (8.0, 2.0)
    assert settings.checkpoint == Path("/models/glamm")
    assert settings.torch_threads is None
    monkeypatch.setenv("GLAMM_LEASE_SECONDS", "9")
    assert get_settings() is settings


def test_clients_reach_the_object_store_where_the_service_does_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GLAMM_S3_ENDPOINT", "minio:9000")
    monkeypatch.setenv("GLAMM_S3_SECURE", "true")
    assert (Settings().s3_public_endpoint, Settings().s3_public_secure) == ("minio:9000", True)
    monkeypatch.setenv("GLAMM_S3_PUBLIC_ENDPOINT", "objects.example")
    monkeypatch.setenv("GLAMM_S3_PUBLIC_SECURE", "false")
    assert (Settings().s3_public_endpoint, Settings().s3_public_secure) == ("objects.example", False)


def test_an_upload_may_be_used_for_longer_than_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLAMM_UPLOAD_URL_SECONDS", "172800")
    with pytest.raises(InvalidSettings, match=r"GLAMM_UPLOAD_TTL_SECONDS: .*longer than GLAMM_UPLOAD_URL_SECONDS"):
        get_settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().gateway_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GLAMM_LEASE_SECONDS", "0"),
        ("GLAMM_LEASE_SECONDS", "soon"),
        ("GLAMM_HEARTBEAT_SECONDS", "60"),
        ("GLAMM_DEVICE", "tpu"),
        ("GLAMM_DTYPE", "int8"),
        ("GLAMM_DATABASE_URL", "sqlite://"),
        ("GLAMM_S3_ENDPOINT", "http://localhost:9000"),
        ("GLAMM_S3_BUCKET", "Photos"),
        ("GLAMM_S3_BUCKET", "photos..june"),
        ("GLAMM_IMPORT_BUCKETS", "photos,s3://archive"),
        ("GLAMM_IMPORT_BUCKETS", "photos/june"),
        ("GLAMM_IMPORT_BUCKETS", "a"),
        ("GLAMM_IMPORT_BUCKETS", "photos-.june"),
        ("GLAMM_IMPORT_BUCKETS", "192.168.0.1"),
        ("GLAMM_S3_PUBLIC_ENDPOINT", "https://objects.example"),
        ("GLAMM_UPLOAD_TTL_SECONDS", "3600"),
        ("GLAMM_IMAGE_RETENTION_DAYS", "0"),
        ("GLAMM_GATEWAY_PORT", "70000"),
        ("GLAMM_LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSettings) as raised:
        get_settings()
    assert raised.value.field == variable
    assert variable in raised.value.detail
    assert variable in str(raised.value.remedy)


def refusal(*arguments: str, **environment: str) -> str:
    """The one line that a Python process says when it ends for a wrong setting."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    return done.stderr


@pytest.mark.parametrize("log_format", ["console", "json", "", "pretty"])
def test_a_process_with_wrong_settings_says_so_in_one_line_without_the_value(log_format: str) -> None:
    wrong = {"GLAMM_DATABASE_URL": "mysql://user:hunter2@db/glamm", "GLAMM_LOG_FORMAT": log_format}
    told = refusal("-c", "from shared.starting import begin; begin('test')", **wrong)
    assert "GLAMM_DATABASE_URL" in told
    assert "hunter2" not in told
    if log_format == "console":
        assert told.startswith("cannot start: Invalid settings: GLAMM_DATABASE_URL: ")
        assert "Correct or unset GLAMM_DATABASE_URL" in told
    else:
        line = json.loads(told)
        assert (line["event"], line["level"], line["process"]) == ("process.not_started", "critical", "test")
        assert (line["field"], line["remedy"][:16]) == ("GLAMM_DATABASE_URL", "Correct or unset")


def test_a_process_that_is_to_read_what_is_no_bucket_says_so_in_one_line() -> None:
    told = refusal("-m", "services.gateway", GLAMM_IMPORT_BUCKETS="photos,My_Photos")
    assert "'My_Photos' is no name of a bucket" in told
    assert "Correct or unset GLAMM_IMPORT_BUCKETS." in told


def test_buckets_stand_between_commas_and_the_services_own_is_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLAMM_IMPORT_BUCKETS", "photos, archive,")
    assert Settings().import_buckets == ("photos", "archive")
    monkeypatch.setenv("GLAMM_IMPORT_BUCKETS", "photos,glamm")
    with pytest.raises(ValidationError, match="every owner's images"):
        Settings()
