"""`Prefer: wait=n`: whoever submits a job may wait for it in the same request."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import anyio
import httpx
import pytest
from sqlalchemy import select

from shared import tables
from shared.settings import Settings

pytestmark = pytest.mark.anyio

PATIENCE = 30


@pytest.fixture
async def image_id(api: httpx.AsyncClient, png: bytes) -> str:
    return str((await api.post("/images", content=png)).json()["id"])


async def waiting_for(app) -> UUID:
    """The job that a request waits for, once one does."""
    watcher = app.state.gateway.watcher
    with anyio.fail_after(PATIENCE):
        while not watcher._waiting:
            await asyncio.sleep(0.01)
    return next(iter(watcher._waiting))


@pytest.mark.parametrize("way", ["post", "put", "turn"])
async def test_the_finished_job_is_the_answer(api, app, backstage, image_id, result, way: str) -> None:
    path, body = "/jobs", {"image_id": image_id, "task": "gcg"}
    if way == "turn":
        begun = (await api.post("/conversations", json={"image_id": image_id})).json()
        path, body = f"/conversations/{begun['id']}/turns", {"task": "gcg"}
    if way == "put":
        path = f"/jobs/{uuid4()}"
    method = "PUT" if way == "put" else "POST"
    sent = asyncio.create_task(api.request(method, path, json=body, headers={"Prefer": "wait=50"}))
    job_id = await waiting_for(app)
    backstage.succeed(job_id, result)
    with anyio.fail_after(PATIENCE):
        answer = await sent
    assert (answer.status_code, answer.json()["state"]) == (200, "succeeded")
    assert answer.json()["result"]["text"] == result.text
    assert answer.headers["Preference-Applied"] == "wait=50"


async def test_a_put_of_what_is_there_waits_too(api, app, backstage, image_id) -> None:
    path, body = f"/jobs/{uuid4()}", {"image_id": image_id, "task": "gcg"}
    assert (await api.put(path, json=body)).status_code == 202
    sent = asyncio.create_task(api.put(path, json=body, headers={"Prefer": "wait=50"}))
    backstage.cancel(await waiting_for(app))
    with anyio.fail_after(PATIENCE):
        assert ((await sent).status_code, sent.result().json()["state"]) == (200, "canceled")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        (["wait=0"], "wait=0"),
        (["respond-async, wait=0"], "wait=0"),
        (["respond-async", 'Wait = "0"; x=1'], "wait=0"),
        (['foo="a, wait=9", wait=0'], "wait=0"),
        (["wait=0, wait=9"], "wait=0"),
        ([], None),
        (["wait"], None),
        (["wait=-1"], None),
        (["wait=soon"], None),
        (["wait=1.5"], None),
        (["awaits=1"], None),
        (['"'], None),
        (['"a, wait=0'], None),
        # Nobody has so much to prefer; a quote that is never closed must not be looked at again and again.
        (['\\"' * 400_000], None),
        (["x" * 1_000 + ", wait=0"], None),
    ],
)
async def test_only_a_wait_that_can_be_read_is_applied(api, image_id, prefer: list[str], applied: str | None) -> None:
    headers: list[Any] = [("Prefer", value) for value in prefer]
    answer = await api.post("/jobs", json={"image_id": image_id, "task": "gcg"}, headers=headers)
    assert (answer.status_code, answer.headers.get("Preference-Applied")) == (202, applied)


class TestTheServersLimit:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_wait_seconds": 1.5})

    async def test_a_longer_wait_is_cut_to_it(self, api, backstage, image_id) -> None:
        with anyio.fail_after(PATIENCE):
            answer = await api.post(
                "/jobs", json={"image_id": image_id, "task": "gcg"}, headers={"Prefer": "wait=999999"}
            )
        assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")
        with backstage.engine.connect() as connection:
            assert connection.execute(select(tables.jobs.c.state)).scalar_one() == "queued"
