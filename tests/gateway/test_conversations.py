"""Conversations over HTTP: begun on a stored image, continued turn by turn."""

import json
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, insert

from shared import access, tables
from shared.ids import uuid7
from shared.jobs import Answer, Result
from shared.schema import Conversation, Job, JobPage, VqaAsked
from shared.scopes import Scope

pytestmark = pytest.mark.anyio

UNKNOWN = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture
async def conversation(api, png) -> Conversation:
    image_id = (await api.post("/images", content=png)).json()["id"]
    answer = await api.post("/conversations", json={"image_id": image_id})
    assert answer.status_code == 201, answer.text
    begun = Conversation.model_validate_json(answer.content)
    assert answer.headers["Location"] == f"/conversations/{begun.id}"
    assert (begun.image.id, begun.turns) == (image_id, [])
    return begun


async def take_turn(api, conversation: Conversation, **asked: object) -> Job:
    answer = await api.post(f"/conversations/{conversation.id}/turns", json=asked)
    assert answer.status_code == 202, answer.text
    job = Job.model_validate_json(answer.content)
    assert answer.headers["Location"] == job.links.self
    return job


def say(backstage, job_id: UUID, text: str) -> None:
    backstage.succeed(job_id, Result((Answer(text, text),), "weights-1"))


async def test_each_turn_is_a_job_that_knows_its_conversation(api, backstage, conversation) -> None:
    first = await take_turn(api, conversation, task="gcg")
    say(backstage, first.id, "A dog.")
    second = await take_turn(api, conversation, task="vqa", question="What is this?", boxes=[[1, 2, 9, 9]])
    assert second.request == VqaAsked(task="vqa", question="What is this?", boxes=[(1, 2, 9, 9)])
    assert (first.turn, second.turn) == (1, 2)
    assert second.links.conversation == f"/conversations/{conversation.id}"
    assert (await api.get(second.links.self)).json()["turn"] == 2
    seen = Conversation.model_validate_json((await api.get(second.links.conversation)).content)
    assert seen.turns == [f"/jobs/{first.id}", f"/jobs/{second.id}"]


async def test_turns_come_in_pages_the_oldest_first(api, backstage, conversation) -> None:
    made = []
    for _ in range(3):
        turn = await take_turn(api, conversation, task="caption")
        backstage.cancel(turn.id)
        made.append(turn.id)
    url = conversation.links.turns
    first = JobPage.model_validate_json((await api.get(url, params={"limit": 2})).content)
    assert ([job.id for job in first.jobs], [job.turn for job in first.jobs]) == (made[:2], [1, 2])
    made.append((await take_turn(api, conversation, task="caption")).id)
    last = JobPage.model_validate_json((await api.get(url, params={"limit": 2, "cursor": first.next})).content)
    assert ([job.id for job in last.jobs], last.next) == (made[2:], None)
    (shown,) = (await api.get(url, params={"limit": 1})).json()["jobs"]
    whole = (await api.get(f"/jobs/{made[0]}")).json()
    assert shown == {name: whole[name] for name in shown}
    for query, field in (({"limit": 0}, "limit"), ({"cursor": "next"}, "cursor")):
        refused = await api.get(url, params=query)
        assert (refused.status_code, refused.json()["field"]) == (422, field)


async def test_a_long_conversation_shows_its_last_turns_and_pages_have_all(api, backstage, conversation) -> None:
    row = {"conversation_id": conversation.id, "image_id": conversation.image.id, "owner_id": tables.LOCAL_OWNER}
    turns = [{**row, "id": uuid7(), "turn": turn} for turn in range(1, 204)]
    with backstage.engine.begin() as connection:
        done = {"task": "caption", "state": "canceled", "finished_at": func.now(), "expires_at": func.now()}
        connection.execute(insert(tables.jobs).values(done), turns)
    seen = Conversation.model_validate_json((await api.get(conversation.links.self)).content)
    assert seen.turns == [f"/jobs/{turn['id']}" for turn in turns[3:]]
    first = JobPage.model_validate_json((await api.get(seen.links.turns, params={"limit": 200})).content)
    rest = JobPage.model_validate_json((await api.get(seen.links.turns, params={"cursor": first.next})).content)
    assert [job.id for job in first.jobs + rest.jobs] == [turn["id"] for turn in turns]


async def test_the_turns_of_another_owner_are_not_there(app, backstage, conversation) -> None:
    with backstage.engine.begin() as connection:
        _, secret = access.create_key(connection, "bob", [Scope.READ])
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://g", headers=headers) as bob:
        assert (await bob.get(conversation.links.turns)).status_code == 404


async def test_a_turn_during_another_is_told_what_to_wait_for(api, conversation) -> None:
    first = await take_turn(api, conversation, task="caption")
    answer = await api.post(f"/conversations/{conversation.id}/turns", json={"task": "caption"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:glamm:problem:conflict")
    assert f"/jobs/{first.id}" in answer.json()["remedy"]


async def test_a_deleted_image_ends_its_conversations(api, backstage, conversation, png) -> None:
    first = await take_turn(api, conversation, task="caption")
    say(backstage, first.id, "A dog.")
    for _ in range(2):
        assert (await api.delete(f"/images/{conversation.image.id}")).status_code == 204
    assert backstage.contents().objects == ()
    before = backstage.contents()
    answer = await api.post(f"/conversations/{conversation.id}/turns", json={"task": "caption"})
    assert answer.status_code == 409
    assert "deleted" in answer.json()["detail"]
    assert answer.json()["remedy"]
    answer = await api.post("/conversations", json={"image_id": conversation.image.id})
    assert (answer.status_code, answer.json()["field"]) == (422, "image_id")
    answer = await api.post("/jobs", json={"image_id": conversation.image.id, "task": "gcg"})
    assert (answer.status_code, answer.json()["field"]) == (422, "image_id")
    assert (await api.get(f"/images/{conversation.image.id}")).status_code == 404
    assert (await api.get(f"/jobs/{first.id}/overlay.png")).status_code == 409
    assert backstage.contents() == before
    assert (await api.get(f"/jobs/{first.id}")).json()["result"]["text"] == "A dog."
    assert (await api.post("/images", content=png)).status_code == 201
    await take_turn(api, conversation, task="caption")
    assert len(backstage.contents().objects) == 1


async def test_an_unknown_image_is_nothing_to_delete(api) -> None:
    assert (await api.delete(f"/images/{'0' * 64}")).status_code == 404
    assert (await api.delete("/images/cat.png")).status_code == 422


async def test_an_unknown_conversation_is_not_found(api) -> None:
    for answer in (
        await api.get(f"/conversations/{UNKNOWN}"),
        await api.get(f"/conversations/{UNKNOWN}/turns"),
        await api.post(f"/conversations/{UNKNOWN}/turns", json={"task": "caption"}),
    ):
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:glamm:problem:not-found")
    assert (await api.get("/conversations/mine")).status_code == 422


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "task"),
        ({"task": "poetry"}, "task"),
        ({"task": "vqa"}, "question"),
        ({"task": "vqa", "question": "What?", "boxes": [[0, 0, 99, 9]]}, "boxes[0]"),
        ({"task": "vqa", "question": "What?", "boxes": [[9, 0, 1, 9]]}, "boxes[0]"),
        ({"task": "refseg", "expressions": [""]}, "expressions[0]"),
        ({"task": "gcg", "image_id": "0" * 64}, "image_id"),
    ],
)
async def test_a_bad_turn_is_refused_and_leaves_nothing(api, backstage, conversation, asked, field) -> None:
    before = backstage.contents()
    answer = await api.post(f"/conversations/{conversation.id}/turns", json=asked)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert answer.json()["remedy"]
    assert backstage.contents() == before


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 422, "body"),
        (b"{}", 422, "image_id"),
        (b'{"image_id": "cat.png"}', 422, "image_id"),
        (json.dumps({"image_id": "0" * 64}).encode(), 422, "image_id"),
        (b"[" + b" " * 2_000_000, 413, "body"),
    ],
)
async def test_a_bad_beginning_is_refused(api, backstage, body, status, field) -> None:
    before = backstage.contents()
    answer = await api.post("/conversations", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert backstage.contents() == before


async def test_a_conversation_of_another_content_type_is_refused(api, conversation) -> None:
    for path in ("/conversations", f"/conversations/{conversation.id}/turns"):
        answer = await api.post(path, content=b"{}", headers={"Content-Type": "text/plain"})
        assert (answer.status_code, answer.json()["field"]) == (415, "Content-Type")
