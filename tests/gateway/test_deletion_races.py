"""An image is sent while it is deleted: whichever comes last, no stored image lacks its bytes."""

import asyncio
from hashlib import sha256
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.gateway import storage
from shared import jobs
from shared.access import LOCAL
from shared.objects import key_of
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio


@pytest.fixture
def image_id(png: bytes) -> str:
    return sha256(png).hexdigest()


@pytest.fixture(params=["/images", "/jobs"])
def upload(request: pytest.FixtureRequest, api: httpx.AsyncClient, png: bytes) -> Any:
    """Send the image, alone or with a job."""

    async def send() -> int:
        form = {} if request.param == "/images" else {"data": {"task": "gcg"}}
        return (await api.post(request.param, files={"image": ("a.png", png, "image/png")}, **form)).status_code

    return send


async def is_whole(api: httpx.AsyncClient, backstage: Backstage, image_id: str) -> bool:
    """The image is stored with its bytes, or neither is there."""
    stored = (await api.get(f"/images/{image_id}")).status_code == 200
    return stored == backstage.objects.exists(key_of(image_id))


async def test_bytes_that_a_deletion_takes_from_an_upload_are_stored_again(
    app: FastAPI, api, backstage, png, image_id
) -> None:
    gateway = app.state.gateway
    await api.post("/images", content=png)
    image = await gateway.check(png)
    await storage.keep(gateway, LOCAL, image)
    await api.delete(f"/images/{image_id}")
    assert not backstage.objects.exists(key_of(image_id))
    async with gateway.engine.begin() as connection:
        assert await storage.record(gateway, connection, LOCAL.owner_id, image)
    assert backstage.objects.get(key_of(image_id)) == png


async def test_a_deletion_leaves_the_bytes_of_an_image_that_was_sent_again(
    app: FastAPI, api, backstage, png, image_id, upload
) -> None:
    await api.post("/images", content=png)
    with backstage.engine.begin() as connection:
        key = jobs.withdraw_image(connection, image_id)
    assert await upload() in (201, 202)
    await storage.erase(app.state.gateway, LOCAL.owner_id, image_id, key)
    assert backstage.objects.get(key) == png
    assert (await api.get(f"/images/{image_id}")).status_code == 200


async def test_an_upload_waits_while_bytes_are_removed_and_then_brings_its_own(
    api, backstage, png, image_id, upload
) -> None:
    await api.post("/images", content=png)
    with backstage.engine.begin() as connection:
        key = jobs.withdraw_image(connection, image_id)
    with backstage.engine.begin() as connection:
        assert jobs.withdrawn(connection, image_id)
        uploading = asyncio.create_task(upload())
        while not uploading.done() and not backstage.waits_for_a_lock():
            await asyncio.sleep(0.005)
        backstage.objects.delete(key)
    assert await uploading in (201, 202)
    assert backstage.objects.get(key) == png


async def test_a_job_on_an_image_that_is_just_being_deleted_is_refused(api, backstage, png, image_id) -> None:
    await api.post("/images", content=png)
    with backstage.engine.begin() as connection:
        jobs.withdraw_image(connection, image_id)
        submitting = asyncio.create_task(api.post("/jobs", json={"image_id": image_id, "task": "gcg"}))
        while not submitting.done() and not backstage.waits_for_a_lock():
            await asyncio.sleep(0.005)
    answer = await submitting
    assert (answer.status_code, answer.json()["field"]) == (422, "image_id")


async def test_however_uploads_and_deletions_meet_none_is_left_half_done(api, backstage, image_id, upload) -> None:
    for _ in range(10):
        answers = await asyncio.gather(upload(), api.delete(f"/images/{image_id}"), upload())
        assert set(answers[::2]) <= {200, 201, 202}
        assert await is_whole(api, backstage, image_id)
