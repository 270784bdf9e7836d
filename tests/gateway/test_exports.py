"""Exports over HTTP: asked for, waited for, downloaded; and not by others."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from services.scheduler.exporter import Exporter
from shared import access, exports, tables
from shared.errors import ExportFailed
from shared.scopes import Scope
from shared.settings import Settings
from tests.batches import Batches
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio

KEPT = timedelta(days=1)


@pytest.fixture
def batches(backstage: Backstage) -> Batches:
    return Batches(backstage.engine)


@pytest.fixture
def batch(batches: Batches) -> UUID:
    batch = batches.add()
    batches.done(batch)
    batches.finish(batch)
    return batch


@pytest.fixture
def exporter(settings: Settings, backstage: Backstage) -> Exporter:
    """Not started: its moves are the test's."""
    return Exporter(settings)


@pytest.fixture
async def stranger(app: FastAPI, backstage: Backstage) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of another owner."""
    with backstage.engine.begin() as connection:
        _, secret = access.create_key(connection, "ann", [Scope.READ])
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers
    ) as client:
        yield client


async def test_an_export_is_asked_for_until_it_can_be_downloaded(
    api: httpx.AsyncClient, batch: UUID, exporter: Exporter
) -> None:
    url = f"/batches/{batch}/export?format=coco"
    for _ in range(2):
        queued = await api.get(url)
        assert (queued.status_code, queued.json()["state"], queued.json()["url"]) == (202, "queued", None)
        assert int(queued.headers["retry-after"]) > 0
        assert "location" not in queued.headers
    exporter.build_next()
    built = await api.get(url)
    body = built.json()
    assert (built.status_code, body["id"], body["state"]) == (200, queued.json()["id"], "succeeded")
    assert (body["batch_id"], body["format"], body["jobs"]) == (str(batch), "coco", 1)
    assert built.headers["location"] == body["url"]
    assert built.headers["cache-control"] == "no-store"
    file = httpx.get(body["url"], trust_env=False)
    assert len(file.content) == body["bytes"]
    assert file.headers["content-disposition"] == f'attachment; filename="{batch}-coco.zip"'
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        instances = json.loads(archive.read("annotations/instances.json"))
    assert [one["name"] for one in instances["categories"]] == ["cat"]


async def test_each_format_is_a_file_of_its_own(api: httpx.AsyncClient, batch: UUID, exporter: Exporter) -> None:
    ids = {(await api.get(f"/batches/{batch}/export?format={form}")).json()["id"] for form in exports.Format}
    assert len(ids) == len(exports.Format)


async def test_a_build_that_failed_says_why(api: httpx.AsyncClient, batch: UUID, backstage: Backstage) -> None:
    url = f"/batches/{batch}/export?format=parquet"
    await api.get(url)
    problem = ExportFailed("There was no room.", remedy="Make some.").to_problem()
    with backstage.engine.begin() as connection:
        export = exports.begin(connection, 3, KEPT)
        assert export is not None
        assert exports.fail(connection, export, problem, KEPT)
    failed = await api.get(url)
    assert (failed.status_code, failed.json()["state"]) == (200, "failed")
    assert failed.json()["error"]["remedy"] == "Make some."
    assert "location" not in failed.headers


async def test_what_is_asked_for_must_exist(api: httpx.AsyncClient, batch: UUID) -> None:
    assert (await api.get(f"/batches/{uuid4()}/export?format=coco")).status_code == 404
    for query, field in (("", "format"), ("?format=voc", "format")):
        answer = await api.get(f"/batches/{batch}/export{query}")
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    answer = await api.get("/batches/first/export?format=coco")
    assert (answer.status_code, answer.json()["field"]) == (422, "batch_id")


async def test_what_belongs_to_another_owner_is_not_there(
    stranger: httpx.AsyncClient, batch: UUID, backstage: Backstage
) -> None:
    answer = await stranger.get(f"/batches/{batch}/export?format=coco")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:glamm:problem:not-found")
    with backstage.engine.connect() as connection:
        assert connection.execute(select(tables.exports.c.id)).all() == []
