"""POST /jobs/{id}/cancel: ends what is not finished, and may be sent again."""

from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from shared import access
from shared.jobs import Stage
from shared.scopes import Scope
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def job_id(api, png) -> UUID:
    return UUID((await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})).json()["id"])


async def test_a_queued_job_is_canceled_however_often_it_is_sent(api, job_id) -> None:
    first = await api.post(f"/jobs/{job_id}/cancel")
    assert (first.status_code, first.json()["state"], first.json()["error"]) == (200, "canceled", None)
    assert first.json()["finished_at"]
    again = await api.post(f"/jobs/{job_id}/cancel")
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await api.get(f"/jobs/{job_id}")).json() == first.json()


async def test_a_running_job_is_taken_from_its_worker(api, backstage, job_id) -> None:
    backstage.start(job_id, Stage.VISION)
    canceled = (await api.post(f"/jobs/{job_id}/cancel")).json()
    assert (canceled["state"], canceled["stages"][0]["outcome"]) == ("canceled", "canceled")


async def test_a_finished_job_stays_as_it_is(api, backstage, job_id, result) -> None:
    backstage.succeed(job_id, result)
    before = (await api.get(f"/jobs/{job_id}")).json()
    answer = await api.post(f"/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()) == (200, before)


async def test_only_its_owner_may_cancel_a_job_and_only_to_write(app: FastAPI, backstage: Backstage, png) -> None:
    def client(owner: str, *scopes: Scope) -> httpx.AsyncClient:
        with backstage.engine.begin() as connection:
            _, secret = access.create_key(connection, owner, scopes)
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://g", headers=headers)

    async with (
        client("ann", Scope.READ, Scope.WRITE) as ann,
        client("ann", Scope.READ) as reader,
        client("bob", Scope.WRITE) as bob,
    ):
        job = (await ann.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})).json()
        assert (await reader.post(f"/jobs/{job['id']}/cancel")).status_code == 403
        assert (await bob.post(f"/jobs/{job['id']}/cancel")).status_code == 404
        assert (await bob.post(f"/jobs/{uuid4()}/cancel")).status_code == 404
        assert (await ann.get(f"/jobs/{job['id']}")).json()["state"] == "queued"
        assert (await ann.post(f"/jobs/{job['id']}/cancel")).json()["state"] == "canceled"
