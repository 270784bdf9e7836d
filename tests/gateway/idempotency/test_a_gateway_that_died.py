"""After the effect of a request was committed and before its answer was kept: its repetition finds the effect."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from services.gateway import repeatable
from shared import tables
from tests.gateway.conftest import Backstage
from tests.gateway.idempotency.conftest import KEY, count, same

pytestmark = pytest.mark.anyio


@pytest.fixture
def dies(backstage: Backstage, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Send a request to a gateway that gets no further than its effect, and let its lease run out."""

    async def send(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(repeatable, "_rendered", die)
            patch.setattr(repeatable.idempotency, "let_go", lambda *_: None)
            with pytest.raises(SystemExit):
                await client.post(path, json=body, headers=KEY)
        assert (await client.post(path, json=body, headers=KEY)).status_code == 409
        with backstage.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE idempotency_keys SET leased_until = now() - interval '1 s'")

    return send


def die(*_: Any) -> None:
    raise SystemExit


async def test_its_job_is_found(api, backstage, image_id, dies) -> None:
    body = {"image_id": image_id, "task": "gcg"}
    await dies(api, "/jobs", body)
    assert backstage.contents().jobs == 1
    other = await api.post("/jobs", json={**body, "priority": "bulk"}, headers=KEY)
    assert (other.status_code, other.json()["field"]) == (409, "priority")
    with backstage.engine.connect() as connection:
        (job_id,) = connection.execute(select(tables.jobs.c.id)).scalars()
    backstage.cancel(job_id)
    done = await api.post("/jobs", json=body, headers=KEY)
    assert (done.status_code, done.json()["id"], done.json()["state"]) == (200, str(job_id), "canceled")
    same(done, await api.post("/jobs", json=body, headers=KEY))
    assert backstage.contents().jobs == 1


@pytest.mark.parametrize("manifest", [False, True])
async def test_its_batch_is_found_by_the_same_request_alone(api, backstage, image_id, manifest) -> None:
    def send(**job: str) -> Any:
        if manifest:
            line = json.dumps({"image_id": image_id, **job}) + "\n"
            headers = {**KEY, "Content-Type": "application/jsonl"}
            return api.post("/batches?name=a", content=line, headers=headers)
        return api.post("/batches", json={"image_ids": [image_id], "job": job}, headers=KEY)

    made = await send(task="gcg")
    assert made.status_code == 201, made.text
    for _ in range(2):
        with backstage.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE idempotency_keys SET leased_until = now() - interval '1 s',"
                " fingerprint = NULL, request_bytes = NULL, status = NULL, headers = NULL, body = NULL"
            )
        other = await send(task="caption")
        assert (other.status_code, other.json()["type"]) == (422, "urn:glamm:problem:idempotency-key-reused")
        assert made.json()["id"] in other.json()["detail"]
        again = await send(task="gcg")
        assert (again.status_code, again.json()["id"]) == (201, made.json()["id"])
        assert "Idempotency-Replayed" not in again.headers
    same(again, await send(task="gcg"))
    assert (count(backstage.engine, tables.batches), backstage.contents().jobs) == (1, 1)


async def test_its_conversation_and_its_turn_are_found(api, backstage, image_id, dies) -> None:
    await dies(api, "/conversations", {"image_id": image_id})
    begun = await api.post("/conversations", json={"image_id": image_id}, headers=KEY)
    assert (begun.status_code, count(backstage.engine, tables.conversations)) == (201, 1)
    turns = f"/conversations/{begun.json()['id']}/turns"
    with backstage.engine.begin() as connection:
        connection.execute(tables.idempotency_keys.delete())
    await dies(api, turns, {"task": "gcg"})
    turn = await api.post(turns, json={"task": "gcg"}, headers=KEY)
    assert (turn.status_code, turn.json()["turn"], backstage.contents().jobs) == (202, 1, 1)


async def test_its_rotation_is_found(api, backstage, dies) -> None:
    """A second one would end the secret that receivers have."""
    made = (await api.post("/webhooks", json={"url": "http://8.8.8.8/", "events": ["job.failed"]})).json()
    rotate = f"/webhooks/{made['id']}/rotate"
    await dies(api, rotate, {})
    found = await api.post(rotate, json={}, headers=KEY)
    assert found.status_code == 200, found.text
    signing = select(tables.webhook_endpoints.c.secret, tables.webhook_endpoints.c.previous_secret)
    with backstage.engine.connect() as connection:
        assert tuple(connection.execute(signing).one()) == (found.json()["secret"], made["secret"])
    shown = await api.post(rotate, json={}, headers=KEY)
    assert (shown.status_code, shown.json()["field"]) == (409, "Idempotency-Key")
    other = (await api.post(rotate)).json()
    with backstage.engine.connect() as connection:
        assert tuple(connection.execute(signing).one()) == (other["secret"], found.json()["secret"])


async def test_its_test_delivery_is_found(api, backstage, dies) -> None:
    made = (await api.post("/webhooks", json={"url": "http://8.8.8.8/", "events": ["job.failed"]})).json()
    url = f"/webhooks/{made['id']}"
    await dies(api, f"{url}/test", {})
    (sent,) = (await api.get(f"{url}/deliveries")).json()["deliveries"]
    await api.patch(url, json={"enabled": False})
    found = await api.post(f"{url}/test", json={}, headers=KEY)
    assert (found.status_code, found.json()["id"]) == (202, sent["id"])
    assert count(backstage.engine, tables.webhook_deliveries) == 1


async def test_its_key_is_not_made_twice(api, backstage, dies, monkeypatch) -> None:
    monkeypatch.setattr("services.gateway.keyring.REMEMBERED_SECONDS", 3600.0)  # the first key closes nothing yet
    body = {"owner": "bob", "scopes": ["read"]}
    await api.get("/keys")
    await dies(api, "/keys", body)
    again = await api.post("/keys", json=body, headers=KEY)
    assert (again.status_code, again.json()["type"]) == (409, "urn:glamm:problem:id-taken")
    assert "Revoke" in again.json()["remedy"]
    assert count(backstage.engine, tables.api_keys) == 1
