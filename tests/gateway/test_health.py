"""Liveness and readiness."""

import httpx
import pytest

from services.gateway.app import create_app
from shared.settings import Settings

pytestmark = pytest.mark.anyio

AWAY = {
    "database_url": "postgresql+psycopg://glamm:glamm@127.0.0.1:1/glamm",
    "s3_endpoint": "127.0.0.1:1",
    "broker_url": "redis://127.0.0.1:1/0",
}


async def ask(settings: Settings, *paths: str) -> list[httpx.Response]:
    app = create_app(settings)
    api = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
    async with app.router.lifespan_context(app), api:
        return [await api.get(path) for path in paths]


async def test_it_is_ready_when_its_servers_are(api) -> None:
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "checks": {"database": "ok", "object store": "ok", "broker": "ok"}},
    )


@pytest.mark.parametrize(
    ("setting", "server"), [("database_url", "database"), ("s3_endpoint", "object store"), ("broker_url", "broker")]
)
async def test_it_names_the_server_that_is_away(backstage, settings: Settings, setting: str, server: str) -> None:
    (answer,) = await ask(settings.model_copy(update={setting: AWAY[setting]}), "/readyz")
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (503, "urn:glamm:problem:unavailable")
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"].startswith(f"{server}: ")
    assert "; " not in problem["detail"]


async def test_it_is_not_ready_without_tables_or_bucket(settings: Settings, empty_database_url: str) -> None:
    (answer,) = await ask(settings.model_copy(update={"database_url": empty_database_url}), "/readyz")
    assert answer.status_code == 503
    assert "database" in answer.json()["detail"]
    assert "object store: not set up" in answer.json()["detail"]


async def test_without_any_server_it_is_alive_and_says_what_it_lacks(settings: Settings) -> None:
    alive, ready, image, job = await ask(
        settings.model_copy(update=AWAY), "/healthz", "/readyz", f"/images/{'0' * 64}", f"/jobs/{'0' * 32}"
    )
    assert (alive.status_code, alive.json()["status"]) == (200, "ok")
    assert ready.status_code == 503
    for answer in (image, job):
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:glamm:problem:unavailable")
        assert "database" in answer.json()["detail"]
        assert int(answer.headers["Retry-After"]) > 0
