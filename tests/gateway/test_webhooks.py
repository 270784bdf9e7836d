"""Webhooks over HTTP: registered, changed, rotated, tested and looked into, each by its owner alone."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from services.gateway import paging
from shared import access, jobs
from shared.scopes import Scope
from shared.settings import Settings
from shared.webhooks import deliveries
from shared.webhooks.deliveries import Tried
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio

PUBLIC = "https://1.1.1.1/hook"
NOWHERE = "0198c0de-0000-7000-8000-000000000000"
JOBS = ["job.succeeded", "job.failed", "job.canceled"]


@pytest.fixture
def client(app: FastAPI, backstage: Backstage) -> Callable[..., httpx.AsyncClient]:
    """A client of an owner, with those scopes."""

    def client(owner: str, *scopes: Scope) -> httpx.AsyncClient:
        with backstage.engine.begin() as connection:
            _, secret = access.create_key(connection, owner, scopes or (Scope.READ, Scope.WRITE))
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers)

    return client


async def registered(api: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await api.post("/webhooks", json={"url": PUBLIC, "events": JOBS, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_webhook_is_made_and_its_secret_shown_once(api, log_lines) -> None:
    answer = await api.post("/webhooks", json={"url": PUBLIC, "events": ["job.failed"], "description": "mine"})
    made = answer.json()
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert answer.headers["location"] == f"/webhooks/{made['id']}"
    assert (made["url"], made["events"], made["description"], made["enabled"]) == (PUBLIC, ["job.failed"], "mine", True)
    shown = await api.get(f"/webhooks/{made['id']}")
    assert shown.json() == made
    listed = await api.get("/webhooks")
    assert listed.json() == {"webhooks": [made], "next": None}
    assert secret not in shown.text + listed.text + str(log_lines)


async def test_a_list_comes_in_pages(api) -> None:
    made = [(await registered(api))["id"] for _ in range(5)]
    pages, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/webhooks", params=query)).json()
        pages.append([webhook["id"] for webhook in page["webhooks"]])
        cursor = page["next"]
        if cursor is None:
            break
    assert pages == [made[:2:-1], made[2:0:-1], made[:1]]
    for query in ("limit=0", "limit=201", "cursor=second"):
        assert (await api.get(f"/webhooks?{query}")).status_code == 422


async def test_a_webhook_is_changed_in_parts(api) -> None:
    made = await registered(api)
    url = f"/webhooks/{made['id']}"
    changed = (await api.patch(url, json={"enabled": False})).json()
    assert changed == {name: value for name, value in made.items() if name != "secret"} | {"enabled": False}
    changed = (await api.patch(url, json={"url": "http://8.8.8.8", "events": ["batch.finished"]})).json()
    assert (changed["url"], changed["events"], changed["enabled"]) == ("http://8.8.8.8/", ["batch.finished"], False)
    assert (await api.patch(url, json={})).json() == changed
    assert (await api.patch(url, json={"enabled": True, "description": "x"})).json()["enabled"] is True


async def test_a_deleted_webhook_is_gone(api) -> None:
    url = f"/webhooks/{(await registered(api))['id']}"
    assert (await api.post(f"{url}/test")).status_code == 202
    assert (await api.delete(url)).status_code == 204
    assert (await api.get(url)).status_code == 404
    assert (await api.delete(url)).status_code == 404


async def test_a_secret_is_rotated_once_under_a_key(api) -> None:
    made = await registered(api)
    key = {"Idempotency-Key": "once"}
    first = await api.post(f"/webhooks/{made['id']}/rotate", headers=key)
    again = await api.post(f"/webhooks/{made['id']}/rotate", headers=key)
    assert (first.status_code, again.status_code, again.json()["field"]) == (200, 409, "Idempotency-Key")
    assert "secret" not in again.json()


async def test_a_rotated_secret_is_another_one(api) -> None:
    made = await registered(api)
    answer = await api.post(f"/webhooks/{made['id']}/rotate")
    assert answer.status_code == 200
    assert answer.json()["secret"] != made["secret"]


async def test_the_log_tells_of_every_attempt(api, backstage: Backstage, png: bytes) -> None:
    made = await registered(api)
    job = (await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})).json()
    backstage.cancel(UUID(job["id"]))
    with backstage.engine.begin() as connection:
        (due,) = deliveries.claim(connection, 1, [], timedelta(minutes=1))
        tried = Tried("2026-01-31T12:00:00+00:00", 12.5, 500, None, "no disk")
        assert not deliveries.settle(connection, due, tried)
    tested = await api.post(f"/webhooks/{made['id']}/test")
    assert tested.status_code == 202
    log = (await api.get(f"/webhooks/{made['id']}/deliveries")).json()
    test, told = log["deliveries"]
    assert test == tested.json()
    assert (test["event"], test["state"], test["payload"]["data"]["id"]) == ("webhook.test", "pending", made["id"])
    assert (told["event"], told["payload"]["data"]["id"]) == ("job.canceled", job["id"])
    assert told["payload"]["data"]["links"] == {"self": f"/jobs/{job['id']}"}
    (attempt,) = told["attempts"]
    assert (attempt["status"], attempt["ms"], attempt["response"]) == (500, 12.5, "no disk")
    first = (await api.get(f"/webhooks/{made['id']}/deliveries?limit=1")).json()
    assert first == {"deliveries": [test], "next": paging.cursor(test["id"])}
    second = (await api.get(f"/webhooks/{made['id']}/deliveries?limit=1&cursor={first['next']}")).json()
    assert second == {"deliveries": [told], "next": None}


async def test_why_a_job_failed_is_told(api, backstage: Backstage, png: bytes) -> None:
    made = await registered(api)
    job = (await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})).json()
    with backstage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE jobs SET expires_at = now()")
    with backstage.engine.begin() as connection:
        assert jobs.expire(connection) == [UUID(job["id"])]
    (told,) = (await api.get(f"/webhooks/{made['id']}/deliveries")).json()["deliveries"]
    assert told["payload"]["data"]["error"] == (await api.get(f"/jobs/{job['id']}")).json()["error"]


async def test_a_disabled_webhook_is_not_tested(api) -> None:
    made = await registered(api)
    await api.patch(f"/webhooks/{made['id']}", json={"enabled": False})
    answer = await api.post(f"/webhooks/{made['id']}/test")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:glamm:problem:conflict")


async def test_what_one_owner_has_is_not_there_for_another(client) -> None:
    ann, bob = client("ann"), client("bob")
    made = await registered(ann)
    url = f"/webhooks/{made['id']}"
    for method, path, body in (
        ("GET", url, None),
        ("PATCH", url, {"enabled": False}),
        ("DELETE", url, None),
        ("POST", f"{url}/rotate", None),
        ("POST", f"{url}/test", None),
        ("GET", f"{url}/deliveries", None),
        ("GET", f"/webhooks/{NOWHERE}", None),
    ):
        answer = await bob.request(method, path, json=body)
        assert (method, path, answer.status_code) == (method, path, 404)
    assert (await bob.get("/webhooks")).json()["webhooks"] == []
    assert (await ann.get(url)).json()["enabled"] is True


async def test_a_reader_makes_none_and_a_writer_reads_none(client) -> None:
    reader, writer = client("ann", Scope.READ), client("ann", Scope.WRITE)
    assert (await reader.post("/webhooks", json={"url": PUBLIC, "events": JOBS})).status_code == 403
    made = await registered(writer)
    assert (await writer.get(f"/webhooks/{made['id']}")).status_code == 403
    assert (await reader.post(f"/webhooks/{made['id']}/rotate")).status_code == 403
    assert (await reader.get(f"/webhooks/{made['id']}/deliveries")).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": JOBS}, "url"),
        ({"url": PUBLIC}, "events"),
        ({"url": PUBLIC, "events": []}, "events"),
        ({"url": PUBLIC, "events": ["job.queued"]}, "events[0]"),
        ({"url": PUBLIC, "events": ["webhook.test"]}, "events[0]"),
        ({"url": PUBLIC, "events": JOBS, "secret": "whsec_mine"}, "secret"),
        ({"url": PUBLIC, "events": JOBS, "description": "a\0b"}, "description"),
        ({"url": "receiver.example", "events": JOBS}, "url"),
        ({"url": "ftp://1.1.1.1/", "events": JOBS}, "url"),
        ({"url": "https://me:secret@1.1.1.1/", "events": JOBS}, "url"),
        ({"url": "http://127.0.0.1:6379/", "events": JOBS}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data", "events": JOBS}, "url"),
        ({"url": "http://[::ffff:10.0.0.1]/", "events": JOBS}, "url"),
        ({"url": "http://0x7f000001/", "events": JOBS}, "url"),
        ({"url": "http://localhost/", "events": JOBS}, "url"),
        ({"url": "http://nowhere.invalid/", "events": JOBS}, "url"),
    ],
)
async def test_a_webhook_that_makes_no_sense_is_refused(api, body: dict[str, Any], field: str) -> None:
    answer = await api.post("/webhooks", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text
    assert answer.json()["remedy"]
    assert "secret@" not in answer.text
    made = await registered(api)
    if "url" in body and field == "url":
        changed = await api.patch(f"/webhooks/{made['id']}", json={"url": body["url"]})
        assert (changed.status_code, changed.json()["field"]) == (422, "url")


class TestASettingThatAllowsPrivateAddresses:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"webhook_allow_private": True, "max_webhooks": 2})

    async def test_lets_them_through(self, api) -> None:
        assert (await registered(api, url="http://127.0.0.1:9/"))["url"] == "http://127.0.0.1:9/"

    async def test_and_one_of_how_many_is_kept(self, api) -> None:
        for _ in range(2):
            await registered(api)
        answer = await api.post("/webhooks", json={"url": PUBLIC, "events": JOBS})
        assert (answer.status_code, answer.json()["field"]) == (429, "webhooks")
