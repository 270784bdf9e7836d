"""GET /jobs: an owner's jobs, the newest first, page by page."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from services.gateway import paging
from shared import access
from shared.errors import InvalidInput
from shared.jobs import Stage
from shared.schema import JobPage
from shared.scopes import Scope
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def image_id(api: httpx.AsyncClient, png: bytes) -> str:
    return str((await api.post("/images", content=png)).json()["id"])


@pytest.fixture
def submit(api: httpx.AsyncClient, image_id: str) -> Callable[..., Any]:
    async def submit(task: str = "gcg", **more: Any) -> str:
        answer = await api.post("/jobs", json={"image_id": image_id, "task": task, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    return submit


async def page(api: httpx.AsyncClient, **query: Any) -> JobPage:
    answer = await api.get("/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return JobPage.model_validate_json(answer.content)


def ids(found: JobPage) -> list[str]:
    return [str(job.id) for job in found.jobs]


async def test_pages_hold_every_job_once_whatever_comes_meanwhile(api, submit) -> None:
    made = [await submit() for _ in range(5)]
    first = await page(api, limit=2)
    assert ids(first) == made[:2:-1]
    await submit()
    second = await page(api, limit=2, cursor=first.next)
    assert ids(second) == [made[2], made[1]]
    last = await page(api, limit=2, cursor=second.next)
    assert (ids(last), last.next) == ([made[0]], None)
    assert (await page(api, limit=6)).next is None


async def test_the_newest_comes_first_whatever_id_was_chosen_for_it(api, image_id, submit) -> None:
    oldest = await submit()
    chosen = [str(UUID(int=7)), str(UUID(int=2**128 - 1))]
    for job_id in chosen:
        assert (await api.put(f"/jobs/{job_id}", json={"image_id": image_id, "task": "gcg"})).status_code == 202
    newest = await submit()
    assert ids(await page(api)) == [newest, *reversed(chosen), oldest]
    walked, cursor = [], None
    while not walked or cursor:
        one = await page(api, limit=1, **({"cursor": cursor} if cursor else {}))
        walked, cursor = [*walked, *ids(one)], one.next
    assert walked == [newest, *reversed(chosen), oldest]


async def test_a_list_shows_what_a_job_is_without_what_it_found(api, backstage, submit, result) -> None:
    job_id = await submit(priority="bulk", prompt="Describe it.")
    backstage.succeed(UUID(job_id), result)
    whole = (await api.get(f"/jobs/{job_id}")).json()
    (shown,) = (await api.get("/jobs")).json()["jobs"]
    assert shown == {name: whole[name] for name in shown}
    assert whole.keys() - shown.keys() == {"queue_position", "progress", "stages", "result"}
    assert shown["links"]["overlay"] == f"/jobs/{job_id}/overlay.png"


async def test_jobs_are_found_by_state_task_and_image(api, backstage, submit, photo) -> None:
    gcg, caption, canceled = await submit(), await submit("caption"), await submit()
    backstage.cancel(UUID(canceled))
    other = (await api.post("/jobs", files={"image": ("a.jpg", photo)}, data={"task": "caption"})).json()
    running = await submit()
    backstage.start(UUID(gcg), Stage.VISION)
    assert ids(await page(api, task="caption")) == [other["id"], caption]
    assert ids(await page(api, task="caption", image_id=other["image"]["id"])) == [other["id"]]
    assert ids(await page(api, state="canceled")) == [canceled]
    assert ids(await page(api, state=["canceled", "vision"])) == [running, other["id"], canceled, caption, gcg]
    assert ids(await page(api, state="succeeded")) == []
    assert ids(await page(api, image_id="0" * 64)) == []


async def test_each_owner_sees_its_own(app: FastAPI, backstage: Backstage, png: bytes) -> None:
    seen, made = {}, {}
    for owner in ("ann", "bob"):
        with backstage.engine.begin() as connection:
            _, secret = access.create_key(connection, owner, [Scope.READ, Scope.WRITE])
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://g", headers=headers) as api:
            answer = await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})
            made[owner], seen[owner] = [answer.json()["id"]], ids(await page(api))
    assert seen == made


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"state": "lost"}, "state[0]"),
        ({"task": "paint"}, "task"),
        ({"image_id": "cat.png"}, "image_id"),
        ({"cursor": "next"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "ü"}, "cursor"),
        ({"cursor": "f" * 32}, "cursor"),
    ],
)
async def test_a_bad_filter_is_refused(api, query: dict[str, Any], field: str) -> None:
    answer = await api.get("/jobs", params=query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert answer.json()["remedy"]


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_a_cursor_is_what_it_was_made_of(created_at, job_id) -> None:
    assert paging.behind(paging.cursor(created_at, job_id), paging.time_and_id) == (created_at, job_id)


@given(st.text(max_size=40))
def test_any_other_text_is_no_cursor_or_one_of_some_time(text: str) -> None:
    with suppress(InvalidInput):
        found = paging.behind(text, paging.time_and_id)
        assert found is not None
        assert paging.behind(paging.cursor(*found), paging.time_and_id) == found


async def test_an_unknown_cursor_of_the_right_form_is_an_empty_end(api, submit) -> None:
    await submit()
    cursor = paging.cursor(datetime(1970, 1, 1, tzinfo=UTC), uuid4())
    assert (await page(api, cursor=cursor)).jobs == []
