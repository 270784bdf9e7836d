"""An upload on its way to be an image: used for the first time, refused for what it is, or deleted."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from shared import access, jobs
from shared.objects import key_of, upload_key_of
from shared.scopes import Scope
from shared.tables import LOCAL_OWNER
from tests.gateway.conftest import Backstage, encode, picture
from tests.gateway.uploads.conftest import declare, described, put

pytestmark = pytest.mark.anyio


async def upload(api: httpx.AsyncClient, data: bytes, arriving: bytes | None = None, **otherwise: object) -> str:
    """Declare an image and put it, or other bytes of that length; the id."""
    (expected,) = await declare(api, described(data, **otherwise))
    assert await put(expected, data if arriving is None else arriving) == 200
    return expected.id


@pytest.fixture(params=["job", "form", "conversation"])
def use(request: pytest.FixtureRequest, api: httpx.AsyncClient) -> Callable[[str], Any]:
    """Use an image by its id."""

    async def use(image_id: str) -> httpx.Response:
        if request.param == "conversation":
            return await api.post("/conversations", json={"image_id": image_id})
        fields = {"image_id": image_id, "task": "gcg"}
        if request.param == "job":
            return await api.post("/jobs", json=fields)
        return await api.post("/jobs", files={name: (None, value) for name, value in fields.items()})

    return use


async def test_an_upload_is_an_image_from_its_first_use_on(api, backstage, png, use) -> None:
    image_id = await upload(api, png)
    assert backstage.contents().objects == (upload_key_of(image_id, LOCAL_OWNER),)
    answer = await use(image_id)
    assert answer.status_code in (201, 202), answer.text
    assert answer.json()["image"] == {"id": image_id, "width": 48, "height": 32, "media_type": "image/png"}
    assert backstage.contents().objects == (key_of(image_id),)
    assert backstage.objects.get(key_of(image_id)) == png
    assert (await use(image_id)).status_code == answer.status_code
    (again,) = await declare(api, described(png))
    assert (again.id, again.stored, again.upload) == (image_id, True, None)


async def test_a_client_sees_whether_it_has_arrived(api, backstage, png) -> None:
    (expected,) = await declare(api, described(png))
    missing = await api.get(f"/images/{expected.id}")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:glamm:problem:not-found")
    assert "has not arrived" in missing.json()["detail"]
    assert await put(expected, png) == 200
    known = await api.get(f"/images/{expected.id}")
    assert (known.status_code, known.json()["bytes"]) == (200, len(png))
    assert backstage.contents().objects == (key_of(expected.id),)


async def test_an_upload_that_has_not_arrived_is_told_how_to(api, backstage, png, use) -> None:
    (expected,) = await declare(api, described(png))
    answer = await use(expected.id)
    problem = answer.json()
    assert (answer.status_code, problem["type"], problem["field"]) == (409, "urn:glamm:problem:conflict", "image_id")
    assert "POST /images/uploads" in problem["remedy"]
    assert backstage.contents().jobs == 0
    assert await put(expected, png) == 200
    assert (await use(expected.id)).status_code in (201, 202)


async def test_what_was_not_declared_is_not_there(api, png, use) -> None:
    answer = await use(sha256(png).hexdigest())
    assert (answer.status_code, answer.json()["field"]) == (422, "image_id")


async def test_wrong_bytes_are_refused_and_may_be_put_right(api, backstage, png, use) -> None:
    other = png[:-1] + b"!"
    image_id = await upload(api, png, arriving=other)
    answer = await use(image_id)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, "urn:glamm:problem:invalid-input")
    assert problem["field"] == "image_id"
    assert f"its sha256 is {sha256(other).hexdigest()}, not {image_id}" in problem["detail"]
    assert (await api.get(f"/images/{image_id}")).status_code == 422
    contents = backstage.contents()
    assert (contents.images, contents.jobs) == (0, 0)
    await upload(api, png)
    assert (await use(image_id)).status_code in (201, 202)


async def test_another_type_than_declared_is_refused(api, png, use) -> None:
    answer = await use(await upload(api, png, media_type="image/webp"))
    assert (answer.status_code, answer.json()["field"]) == (422, "image_id")
    assert "its type is image/png, not image/webp" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("data", "status"), [(b"#!/bin/sh", 415), (encode(picture(8, 8)), 422), (encode(picture(2000, 20)), 422)]
)
async def test_what_is_no_image_for_us_is_refused_as_by_any_other_way(api, backstage, use, data, status) -> None:
    image_id = await upload(api, data)
    answer = await use(image_id)
    assert (answer.status_code, answer.json()["field"]) == (status, "image_id")
    assert (await api.get(f"/images/{image_id}")).status_code == status
    assert (backstage.contents().images, backstage.contents().jobs) == (0, 0)


async def test_wrong_lengths_that_come_by_another_way_are_refused(api, backstage, png, use) -> None:
    (expected,) = await declare(api, described(png))
    backstage.objects.put(upload_key_of(expected.id, LOCAL_OWNER), png + b"!", "image/png")
    answer = await use(expected.id)
    assert (answer.status_code, answer.json()["field"]) == (422, "image_id")
    assert f"it has {len(png) + 1:,} bytes, not {len(png):,}" in answer.json()["detail"]


async def test_a_declaration_that_is_over_counts_no_more(api, backstage, png, use) -> None:
    image_id = await upload(api, png)
    with backstage.engine.begin() as connection:
        connection.execute(text("UPDATE uploads SET expires_at = now()"))
    assert (await use(image_id)).status_code == 422
    assert (await api.get(f"/images/{image_id}")).status_code == 404
    await upload(api, png)
    assert (await use(image_id)).status_code in (201, 202)


async def test_an_upload_is_its_owners(app: FastAPI, backstage: Backstage, png: bytes) -> None:
    headers = {}
    with backstage.engine.begin() as connection:
        for owner in ("ann", "bob", "eve"):
            scopes = (Scope.READ,) if owner == "eve" else (Scope.READ, Scope.WRITE)
            headers[owner] = {"Authorization": f"Bearer {access.create_key(connection, owner, scopes)[1]}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
        (expected,) = await declare(client, described(png), headers=headers["ann"])
        assert await put(expected, png) == 200
        image = f"/images/{expected.id}"
        assert (await client.get(image, headers=headers["bob"])).status_code == 404
        assert (await client.delete(image, headers=headers["bob"])).status_code == 404
        job = {"image_id": expected.id, "task": "gcg"}
        answer = await client.post("/jobs", json=job, headers=headers["bob"])
        assert (answer.status_code, answer.json()["field"]) == (422, "image_id")
        # Once it is ann's image, bob is still told to upload his own.
        assert (await client.post("/jobs", json=job, headers=headers["ann"])).status_code == 202
        (his,) = await declare(client, described(png), headers=headers["bob"])
        assert not his.stored
        assert his.upload is not None
        assert expected.upload is not None
        assert his.upload.url.split("?")[0] != expected.upload.url.split("?")[0]
        refused = await client.post("/images/uploads", json={"images": [described(png)]}, headers=headers["eve"])
        assert refused.status_code == 403


async def test_an_upload_that_was_not_used_can_be_deleted(api, backstage, png, use) -> None:
    (expected,) = await declare(api, described(png))
    assert (await api.delete(f"/images/{expected.id}")).status_code == 404
    assert await put(expected, png) == 200
    assert (await api.delete(f"/images/{expected.id}")).status_code == 204
    assert backstage.contents().objects == ()
    # It is not expected any more, neither by a job nor by a batch, until it is declared anew.
    assert (await use(expected.id)).status_code == 422
    batch = await api.post("/batches", json={"image_ids": [expected.id], "job": {"task": "gcg"}})
    assert (batch.status_code, batch.json()["lines"][0]["field"]) == (422, "image_ids[0]")
    assert (await api.delete(f"/images/{expected.id}")).status_code == 404
    await declare(api, described(png))
    assert (await use(expected.id)).status_code == 409
    assert await put(expected, png) == 200
    assert (await use(expected.id)).is_success


async def test_many_first_uses_at_once_make_one_image(api, backstage, png) -> None:
    image_id = await upload(api, png)
    answers = await asyncio.gather(*(api.post("/jobs", json={"image_id": image_id, "task": "gcg"}) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    contents = backstage.contents()
    assert (contents.objects, contents.images, contents.jobs) == ((key_of(image_id),), 1, 8)


async def test_a_deletion_waits_for_the_intake_and_then_takes_its_image(app: FastAPI, api, backstage, png) -> None:
    """Not even an intake that is nearly done brings back what was deleted."""
    image_id = await upload(api, png)
    with backstage.engine.begin() as connection:
        connection.execute(text("SELECT FROM uploads FOR UPDATE"))  # as the intake does before it copies
        deleting = asyncio.create_task(api.delete(f"/images/{image_id}"))
        while not deleting.done() and not backstage.waits_for_a_lock():
            await asyncio.sleep(0.005)
        assert not deleting.done()
        connection.execute(
            text(
                "INSERT INTO images (id, owner_id, object_key, media_type, width, height, bytes)"
                " VALUES (:id, :owner, :key, 'image/png', 48, 32, :bytes)"
            ),
            {"id": image_id, "owner": LOCAL_OWNER, "key": key_of(image_id), "bytes": len(png)},
        )
        backstage.objects.put(key_of(image_id), png, "image/png")
    assert (await deleting).status_code == 204
    assert backstage.contents().objects == ()
    assert (await api.get(f"/images/{image_id}")).status_code == 404


async def test_however_first_uses_and_deletions_meet_none_is_left_half_done(api, backstage, png) -> None:
    image_id = sha256(png).hexdigest()
    for _ in range(10):
        await upload(api, png)
        job = {"image_id": image_id, "task": "gcg"}
        *used, deleted = await asyncio.gather(
            api.post("/jobs", json=job), api.post("/jobs", json=job), api.delete(f"/images/{image_id}")
        )
        assert {answer.status_code for answer in used} <= {202, 409, 422}
        assert deleted.status_code == 204
        # Whatever came first, the deletion came after the bytes, so it took them, and the jobs with them.
        assert (await api.get(f"/images/{image_id}")).status_code == 404
        assert backstage.contents().objects == ()
        for answer in used:
            if answer.status_code == 202:
                with backstage.engine.connect() as connection:
                    view = jobs.get(connection, answer.json()["id"])
                assert view is not None
                assert view.state is jobs.State.CANCELED
