"""Both clients on a real gateway, by the same tests."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from services.cli.client import AsyncGlammClient, GlammClient, Refused, Unreachable
from services.cli.client.operations import Operations
from services.cli.client.pieces import JobEvents
from shared import schema
from shared.scopes import Scope
from shared.states import State
from shared.tasks import Ask, Task
from tests.gateway.conftest import encode, picture


class Awaited:
    """An AsyncGlammClient that is called like the blocking one."""

    def __init__(self, client: AsyncGlammClient, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made = getattr(self._client, name)(*args, **kwargs)
            return self._runner.run(_listed(made) if isinstance(made, AsyncIterator) else made)

        return call


async def _listed(things: AsyncIterator[Any]) -> list[Any]:
    return [thing async for thing in things]


@pytest.fixture(params=["blocking", "awaited"])
def open_client(request) -> Iterator[Callable[..., Any]]:
    """Makes a client of either kind."""
    opened: list[GlammClient] = []
    with asyncio.Runner() as runner:

        def make(url: str, **options: Any) -> Any:
            if request.param == "awaited":
                return Awaited(AsyncGlammClient(url, **options), runner)
            opened.append(GlammClient(url, **options))
            return opened[-1]

        yield make
        for client in opened:
            client.close()


@pytest.fixture
def client(gateway, open_client) -> Any:
    return open_client(gateway.url)


@pytest.fixture
def image(client) -> str:
    return client.upload_image(encode(picture())).id


@pytest.fixture
def manifest(image: str, tmp_path: Path) -> Path:
    path = tmp_path / "manifest.jsonl"
    lines = [{"custom_id": f"job {n}", "image_id": image, "task": "gcg"} for n in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_an_image_is_stored_from_bytes_or_a_file_and_deleted(client, tmp_path) -> None:
    data = encode(picture(seed=1))
    (tmp_path / "a.png").write_bytes(data)
    assert client.upload_image(tmp_path / "a.png").created
    stored = client.upload_image(data)
    assert not stored.created
    assert client.image(stored.id) == stored
    client.delete_image(stored.id)
    with pytest.raises(Refused) as refused:
        client.image(stored.id)
    assert refused.value.problem.status == 404
    with pytest.raises(FileNotFoundError):
        client.upload_image(tmp_path / "gone.png")


def test_an_image_is_put_into_the_object_store_by_the_client_itself(client, tmp_path) -> None:
    images = [encode(picture(seed=seed)) for seed in (1, 2)]
    path = tmp_path / "b.png"
    path.write_bytes(images[1])
    declared = [
        schema.Upload(sha256=sha256(data).hexdigest(), bytes=len(data), media_type="image/png") for data in images
    ]
    for expected, source in zip(client.declare_uploads(declared).images, (images[0], path), strict=True):
        assert not expected.stored
        client.send(expected.upload, source)
        assert client.create_job(expected.id).image.width == 48
    assert [expected.stored for expected in client.declare_uploads(declared).images] == [True, True]


def test_a_job_is_followed_to_its_pictures(client, gateway, image) -> None:
    job = client.create_job(image)
    with pytest.raises(TimeoutError, match="queued"):
        client.wait_for(job.id, timeout=0)
    gateway.work()
    seen: list[schema.Job] = []
    done = client.wait_for(job.id, seen=seen.append)
    assert (done.state, [view.state for view in seen]) == ("succeeded", ["succeeded"])
    assert Image.open(io.BytesIO(client.mask_png(job.id, 0))).size == (48, 32)
    assert Image.open(io.BytesIO(client.overlay_png(job.id))).mode == "RGB"


def test_a_job_tells_what_becomes_of_it(client, gateway, image) -> None:
    job = client.create_job(image)
    working = threading.Timer(0.5, gateway.work)
    working.start()
    events = list(client.job_events(job.id))
    working.join()
    assert [event.id for event in events] == [job.id] * len(events)
    assert events[-1].state == "succeeded"
    assert events[-1] == client.job(job.id)


def test_events_are_read_however_they_are_cut() -> None:
    text = b'event: text\nid: 1\ndata: {"answer": 0, "text": "A \xc3\xa4"}\n\n'
    said = b"retry: 5\n\n: here\n\n" + text + b"event: new\ndata: ?\n\nevent"
    for size in (1, 3, len(said)):
        cutter = JobEvents()
        pieces = [piece for at in range(0, len(said), size) for piece in cutter.feed(said[at : at + size])]
        assert [*pieces, *cutter.close()] == [schema.GrowingText(answer=0, text="A \xe4")]


def test_a_conversation_has_turns(client, image) -> None:
    talk = client.begin_conversation(image)
    turn = client.take_turn(talk.id, Ask(Task.CAPTION))
    assert client.conversation(talk.id).turns == [f"/jobs/{turn.id}"]
    assert [job.id for job in client.turns(talk.id, limit=1)] == [turn.id]
    assert client.list_turns(talk.id).next is None


def test_a_batch_comes_from_a_manifest_and_is_read_page_by_page(client, gateway, manifest) -> None:
    batch = client.create_batch(manifest, name="five", priority="interactive", expires_in=60.0)
    assert (batch.name, batch.priority, batch.jobs) == ("five", "interactive", 5)
    assert [job.line for job in client.batch_jobs(batch.id, limit=2)] == [1, 2, 3, 4, 5]
    page = client.list_batch_jobs(batch.id, limit=2)
    assert [job.line for job in client.batch_jobs(batch.id, cursor=page.next)] == [3, 4, 5]
    gateway.work("job 3")
    failed = client.batch_jobs(batch.id, state=[State.FAILED, State.CANCELED])
    assert [job.custom_id for job in failed] == ["job 3"]
    (problem,) = client.batch(batch.id).problems
    assert [job.custom_id for job in client.batch_jobs(batch.id, error_type=problem.type)] == ["job 3"]
    assert [job.line for job in client.batch_jobs(batch.id, custom_id="job 1", task=Task.GCG)] == [2]
    assert [json.loads(line)["line"] for line in client.results(batch.id)] == [1, 2, 3, 5]
    assert [json.loads(line)["custom_id"] for line in client.errors(batch.id)] == ["job 3"]
    assert client.batch(batch.id).state == "finished"


def test_a_batch_is_steered(client, gateway, manifest) -> None:
    batch = client.create_batch(manifest)
    assert client.pause_batch(batch.id).state == "paused"
    assert client.resume_batch(batch.id).state == "running"
    gateway.work("job 1")
    client.retry_batch(batch.id)
    gateway.settle()
    assert client.batch(batch.id).counts[State.QUEUED] == 1
    client.cancel_batch(batch.id)
    gateway.settle()
    assert client.batch(batch.id).counts[State.CANCELED] == 1


def test_batches_of_a_list_are_listed_the_newest_first(client, image) -> None:
    asked = schema.BatchRequest(job=schema.GcgAsk(task=Task.GCG), image_ids=[image])
    made = [client.create_batch_of(asked).id for _ in range(3)]
    assert [batch.id for batch in client.batches(limit=2)] == made[::-1]


def test_an_invalid_line_is_skipped_if_so_asked(client, manifest) -> None:
    manifest.write_text(manifest.read_text() + "{}\n")
    with pytest.raises(Refused) as refused:
        client.create_batch(manifest)
    assert [line["line"] for line in refused.value.problem.lines] == [6]
    assert client.create_batch(manifest, on_invalid="skip").invalid_lines == 1


def test_keys_are_made_listed_and_revoked(client, gateway, open_client) -> None:
    made = client.create_key("bob", list(Scope))
    bob = open_client(gateway.url, api_key=made.secret)
    assert [key.id for key in bob.list_keys(limit=1).keys] == [made.id]
    other = bob.create_key("ann", [Scope.READ])
    assert [key.id for key in bob.keys(limit=1)] == [other.id, made.id]
    assert bob.set_limits("bob", queued_jobs=5) == schema.OwnerLimits(queued_jobs=5)
    allowance = bob.limits("bob")
    assert (allowance.own, allowance.in_force.queued_jobs) == (schema.OwnerLimits(queued_jobs=5), 5)
    assert allowance.used == schema.LimitsUsed(stored_bytes=0, queued_jobs=0)
    assert bob.revoke_key(made.id).revoked_at is not None


def test_a_service_says_that_it_is_there_and_ready(client) -> None:
    assert (client.greet().status, client.ready().status) == ("ok", "ready")


def test_a_busy_service_is_asked_again_and_one_that_is_away_is_told(serve, open_client, job) -> None:
    problem = {"type": "x", "title": "Overloaded", "status": 503, "detail": "Full."}
    busy = (503, {"content-type": "application/json", "retry-after": "0"}, json.dumps(problem).encode())
    server = serve(busy, None, (200, {}, job().model_dump_json().encode()))
    assert open_client(server.url).job(UUID(int=0)).state == "succeeded"
    assert len(server.requests) == 3
    with pytest.raises(Unreachable, match=":1 "):
        open_client("http://127.0.0.1:1", patience=0).batch(UUID(int=0))


def test_both_have_the_same_methods() -> None:
    assert issubclass(GlammClient, Operations)
    assert issubclass(AsyncGlammClient, Operations)
