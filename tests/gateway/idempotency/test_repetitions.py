"""Idempotency-Key: a request that is sent again takes effect once and gets its first answer."""

import asyncio
from typing import Any
from uuid import UUID

import anyio
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from services.gateway import repeatable
from shared import access, tables
from shared.idempotency import LEASE
from shared.scopes import Scope
from tests.gateway.conftest import Backstage
from tests.gateway.idempotency.conftest import KEY, count, same
from tests.gateway.test_body import request as built

pytestmark = pytest.mark.anyio

PATIENCE = 30


async def test_a_job_is_queued_once(api, backstage, image_id) -> None:
    body = {"image_id": image_id, "task": "gcg"}
    first = await api.post("/jobs", json=body, headers=KEY)
    assert (first.status_code, first.headers["Location"]) == (202, f"/jobs/{first.json()['id']}")
    backstage.cancel(UUID(first.json()["id"]))
    same(first, await api.post("/jobs", json=body, headers=KEY))
    assert backstage.contents().jobs == 1
    # Without quotes, as many programs send it, it is the same key.
    same(first, await api.post("/jobs", json=body, headers={"Idempotency-Key": KEY["Idempotency-Key"].strip('"')}))
    # Another key is another request, and none is one each time.
    assert (await api.post("/jobs", json=body, headers={"Idempotency-Key": '"b"'})).status_code == 202
    assert (await api.post("/jobs", json=body)).status_code == 202
    assert backstage.contents().jobs == 3


async def test_a_form_is_the_same_with_another_boundary(api, backstage, png) -> None:
    def send(task: str, image: bytes) -> Any:
        return api.post("/jobs", files={"image": ("a.png", image)}, data={"task": task}, headers=KEY)

    first = await send("gcg", png)
    again = await send("gcg", png)
    assert first.request.headers["Content-Type"] != again.request.headers["Content-Type"]
    same(first, again)
    for other in (await send("caption", png), await send("gcg", png + b"\0")):
        assert (other.status_code, other.json()["type"]) == (422, "urn:glamm:problem:idempotency-key-reused")
    assert backstage.contents().jobs == 1


async def test_an_image_is_known_by_its_bytes(api, png, photo) -> None:
    first = await api.post("/images", content=png, headers=KEY)
    assert (first.status_code, first.json()["created"]) == (201, True)
    same(first, await api.post("/images", content=png, headers=KEY))
    assert (await api.post("/images", content=photo, headers=KEY)).status_code == 422
    assert (await api.post("/images", content=png[:-1], headers=KEY)).status_code == 422


async def test_conversations_and_turns_are_begun_once(api, backstage, image_id) -> None:
    begun = await api.post("/conversations", json={"image_id": image_id}, headers=KEY)
    same(begun, await api.post("/conversations", json={"image_id": image_id}, headers=KEY))
    turns, headers = f"/conversations/{begun.json()['id']}/turns", {"Idempotency-Key": '"turn 1"'}
    first = await api.post(turns, json={"task": "gcg"}, headers=headers)
    # The turn is not finished, and still its repetition is no second turn.
    same(first, await api.post(turns, json={"task": "gcg"}, headers=headers))
    assert (await api.post(turns, json={"task": "gcg"})).status_code == 409
    assert (count(backstage.engine, tables.conversations), backstage.contents().jobs) == (1, 1)


async def test_a_batch_is_steered_once(api, image_id) -> None:
    """A repetition that comes late does not undo what was asked for meanwhile."""
    body = {"image_ids": [image_id], "job": {"task": "gcg"}}
    url = (await api.post("/batches", json=body)).json()["links"]["self"]
    paused = await api.post(f"{url}/pause", headers=KEY)
    assert paused.json()["state"] == "paused"
    resumed = await api.post(f"{url}/resume", headers={"Idempotency-Key": '"resume"'})
    same(paused, await api.post(f"{url}/pause", headers=KEY))
    assert (resumed.json()["state"], (await api.get(url)).json()["state"]) == ("running", "running")
    canceled = await api.post(f"{url}/cancel", headers={"Idempotency-Key": '"cancel"'})
    same(canceled, await api.post(f"{url}/cancel", headers={"Idempotency-Key": '"cancel"'}))


async def test_declarations_and_cancellations_are_answered_once(api, image_id) -> None:
    uploads = {"images": [{"sha256": "0" * 64, "bytes": 100, "media_type": "image/png"}]}
    declared = await api.post("/images/uploads", json=uploads, headers=KEY)
    same(declared, await api.post("/images/uploads", json=uploads, headers=KEY))
    job_url = (await api.post("/jobs", json={"image_id": image_id, "task": "gcg"})).headers["Location"]
    canceled = await api.post(f"{job_url}/cancel", headers={"Idempotency-Key": '"cancel"'})
    same(canceled, await api.post(f"{job_url}/cancel", headers={"Idempotency-Key": '"cancel"'}))


async def test_a_key_stands_for_one_path(api, image_id) -> None:
    assert (await api.post("/conversations", json={"image_id": image_id}, headers=KEY)).status_code == 201
    other = await api.post("/jobs", json={"image_id": image_id, "task": "gcg"}, headers=KEY)
    assert (other.status_code, other.json()["field"]) == (422, "Idempotency-Key")
    assert "POST /conversations" in other.json()["detail"]


@pytest.mark.parametrize("key", ["", '"', '""', '"a', "a b", 'a"b', '"a\\b"', "ü", "a" * 256, '"' + "a" * 256 + '"'])
async def test_a_key_that_cannot_be_read_is_refused(api, backstage, image_id, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    answer = await api.post("/jobs", json={"image_id": image_id, "task": "gcg"}, headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")
    assert backstage.contents().jobs == 0


async def test_a_refused_request_leaves_the_key_free(api, image_id) -> None:
    assert (await api.post("/jobs", json={"image_id": image_id, "task": "paint"}, headers=KEY)).status_code == 422
    assert (await api.post("/jobs", json={"image_id": image_id, "task": "gcg"}, headers=KEY)).status_code == 202


async def test_of_two_at_once_one_is_told_to_come_back(api, app, backstage, image_id) -> None:
    body, headers = {"image_id": image_id, "task": "gcg"}, {**KEY, "Prefer": "wait=60"}
    first = asyncio.create_task(api.post("/jobs", json=body, headers=headers))
    with anyio.fail_after(PATIENCE):
        while not app.state.gateway.watcher._waiting:
            await asyncio.sleep(0.01)
        second = await api.post("/jobs", json=body, headers=KEY)
        assert (second.status_code, second.json()["type"]) == (409, "urn:glamm:problem:under-way")
        assert int(second.headers["Retry-After"]) > 0
        with backstage.engine.connect() as connection:
            (job_id,) = connection.execute(select(tables.jobs.c.id)).scalars()
        backstage.cancel(job_id)
        answered = await first
    assert (answered.status_code, answered.json()["state"]) == (200, "canceled")
    again = await api.post("/jobs", json=body, headers=KEY)
    same(answered, again)
    assert again.headers["Preference-Applied"] == "wait=60"
    assert backstage.contents().jobs == 1


async def test_a_request_that_failed_is_carried_out_when_it_is_sent_again(api, backstage, image_id) -> None:
    body = {"image_id": image_id, "task": "gcg"}
    with backstage.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs ADD CONSTRAINT none_of_these CHECK (task <> 'gcg')")
    assert (await api.post("/jobs", json=body, headers=KEY)).status_code == 500
    with backstage.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs DROP CONSTRAINT none_of_these")
    done = await api.post("/jobs", json=body, headers=KEY)
    assert (done.status_code, "Idempotency-Replayed" in done.headers) == (202, False)
    same(done, await api.post("/jobs", json=body, headers=KEY))


async def test_a_secret_is_shown_once_and_kept_nowhere(app: FastAPI, backstage: Backstage) -> None:
    with backstage.engine.begin() as connection:
        _, secret = access.create_key(connection, "ops", [Scope.ADMIN])
    headers = {"Authorization": f"Bearer {secret}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as admin:
        body = {"owner": "bob", "scopes": ["read"]}
        made = await admin.post("/keys", json=body, headers=KEY)
        assert (made.status_code, made.json()["secret"][:6]) == (201, "glamm_")
        again = await admin.post("/keys", json=body, headers=KEY)
        assert (again.status_code, again.json()["field"]) == (409, "Idempotency-Key")
        assert made.json()["id"] in again.json()["detail"]
        assert made.json()["secret"] not in again.text
        assert len((await admin.get("/keys")).json()["keys"]) == 2
        assert (await admin.post("/keys", json={**body, "name": "other"}, headers=KEY)).status_code == 422
    with backstage.engine.connect() as connection:
        row = connection.execute(select(tables.idempotency_keys)).one()
    assert row.body is None
    assert made.json()["secret"] not in str(row)


async def test_owners_do_not_share_keys(app: FastAPI, backstage: Backstage, png: bytes) -> None:
    ids = []
    for owner in ("ann", "bob"):
        with backstage.engine.begin() as connection:
            _, secret = access.create_key(connection, owner, [Scope.WRITE])
        headers = {"Authorization": f"Bearer {secret}", **KEY}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://g", headers=headers) as api:
            answer = await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})
            assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (202, False)
            ids.append(answer.json()["id"])
    assert len(set(ids)) == 2


async def test_a_long_request_stays_under_way(app, backstage, image_id, monkeypatch) -> None:
    """Its claim is renewed for as long as it takes."""
    monkeypatch.setattr(repeatable.idempotency, "LEASE", LEASE / 300)
    gateway = app.state.gateway
    request = built("application/json", [])
    request.scope.update({"path": "/jobs", "root_path": "", "query_string": b""})
    claim = await repeatable._claim(gateway, request, access.LOCAL, "a")
    async with repeatable._under_way(gateway, claim):
        with backstage.engine.connect() as connection:
            until = select(tables.idempotency_keys.c.leased_until)
            first = connection.execute(until).scalar_one()
            with anyio.fail_after(PATIENCE):
                while connection.execute(until).scalar_one() == first:
                    connection.rollback()
                    await asyncio.sleep(0.01)


async def test_a_repetition_is_read_no_further_than_the_request_was(api, image_id) -> None:
    body = {"image_id": image_id, "task": "gcg"}
    assert (await api.post("/jobs", json=body, headers=KEY)).status_code == 202
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1
            assert sent < 100, "the gateway reads on and on"
            yield b" " * 1000

    headers = {**KEY, "Content-Type": "application/json"}
    assert (await api.post("/jobs", content=endless(), headers=headers)).status_code == 422
