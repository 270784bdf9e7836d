"""PUT /jobs/{id}: a job under an id that the client chose, however often it is sent."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from shared import access
from shared.scopes import Scope
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def body(api: httpx.AsyncClient, png: bytes) -> dict[str, Any]:
    image_id = (await api.post("/images", content=png)).json()["id"]
    return {"image_id": image_id, "task": "vqa", "question": "What is this?", "boxes": [[1, 2, 9, 9.5]]}


async def test_a_job_is_queued_and_then_shown_as_it_is(api, backstage, body, result) -> None:
    job_id = uuid4()
    new = await api.put(f"/jobs/{job_id}", json=body)
    assert (new.status_code, new.json()["id"], new.json()["state"]) == (202, str(job_id), "queued")
    backstage.succeed(job_id, result)
    for request in (body, {**body, "priority": "interactive"}):
        again = await api.put(f"/jobs/{job_id}", json=request)
        assert (again.status_code, again.json()["state"]) == (200, "succeeded")
        assert again.json() == (await api.get(f"/jobs/{job_id}")).json()
    assert backstage.contents().jobs == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"question": "What is that?"}, "question"),
        ({"boxes": []}, "boxes"),
        ({"priority": "bulk"}, "priority"),
        ({"expires_in": 60}, "expires_in"),
        ({"expires_in": 1e300}, "expires_in"),
        ({"image_id": "0" * 64}, "image_id"),
    ],
)
async def test_another_request_under_the_id_is_a_conflict_that_names_the_field(
    api, backstage, body, change, field
) -> None:
    job_id = uuid4()
    before = (await api.put(f"/jobs/{job_id}", json=body)).json()
    answer = await api.put(f"/jobs/{job_id}", json={**body, **change})
    assert (answer.status_code, answer.json()["field"]) == (409, field)
    assert answer.json()["type"] == "urn:glamm:problem:id-taken"
    assert answer.json()["remedy"]
    other = await api.put(f"/jobs/{job_id}", json={"image_id": body["image_id"], "task": "gcg"})
    assert (other.status_code, other.json()["field"]) == (409, "task")
    assert (await api.get(f"/jobs/{job_id}")).json() == before


async def test_the_time_that_was_asked_for_is_known_again(api, body) -> None:
    job_id = uuid4()
    for seconds, status in ((0.1234567, 202), (0.1234567, 200), (0.123458, 409)):
        answer = await api.put(f"/jobs/{job_id}", json={**body, "expires_in": seconds})
        assert answer.status_code == status, answer.text


async def test_an_image_may_come_along(api, backstage, png, photo) -> None:
    job_id = uuid4()

    async def send(image: bytes) -> httpx.Response:
        return await api.put(f"/jobs/{job_id}", files={"image": ("a.png", image)}, data={"task": "gcg"})

    assert [(await send(png)).status_code for _ in range(2)] == [202, 200]
    other = await send(photo)
    assert (other.status_code, other.json()["field"]) == (409, "image")
    # It is the first request's image that is deleted, and a repetition does not bring it back.
    await api.delete(f"/images/{(await api.get(f'/jobs/{job_id}')).json()['image']['id']}")
    assert (await send(png)).json()["state"] == "canceled"
    assert backstage.contents().objects == ()


async def test_of_many_at_once_one_queues_it(api, backstage, body) -> None:
    job_id = uuid4()
    answers = await asyncio.gather(*(api.put(f"/jobs/{job_id}", json=body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [202]
    assert {answer.json()["id"] for answer in answers} == {str(job_id)}
    assert backstage.contents().jobs == 1


async def test_an_id_that_another_owner_uses_is_not_found(app: FastAPI, backstage: Backstage, png: bytes) -> None:
    job_id = uuid4()
    answers = []
    for owner in ("ann", "bob", "ann"):
        with backstage.engine.begin() as connection:
            _, secret = access.create_key(connection, owner, [Scope.READ, Scope.WRITE])
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://g", headers=headers) as api:
            sent = {"files": {"image": ("a.png", png)}, "data": {"task": "gcg"}}
            answers.append(await api.put(f"/jobs/{job_id}", **sent))
    assert [answer.status_code for answer in answers] == [202, 404, 200]
    assert answers[1].json()["detail"] == f"There is no job {job_id}."
    assert answers[2].json()["state"] == "queued"
    contents = backstage.contents()
    # Nothing of the refused request is left but its image, which is stored for itself and is its owner's.
    assert (contents.jobs, contents.images) == (1, 2)


@pytest.mark.parametrize("job_id", ["mine", "0198c0de", str(UUID(int=7)) + "0"])
async def test_an_id_is_a_uuid(api, body, job_id: str) -> None:
    answer = await api.put(f"/jobs/{job_id}", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, "job_id")


async def test_a_bad_request_queues_nothing(api, backstage, body) -> None:
    answer = await api.put(f"/jobs/{uuid4()}", json={**body, "boxes": [[0, 0, 99, 9]]})
    assert (answer.status_code, answer.json()["field"]) == (422, "boxes[0]")
    answer = await api.put(f"/jobs/{uuid4()}", content=b"{}", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["field"]) == (415, "Content-Type")
    assert backstage.contents().jobs == 0
