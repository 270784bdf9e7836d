"""A job's events, over real sockets: each comes when it happens, and a stream leaves nothing behind."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import anyio
import httpx
import pytest
from sqlalchemy import text

from services.gateway import events
from services.gateway.__main__ import Server
from services.gateway.app import create_app
from shared import access, growing_text, jobs
from shared.jobs import Stage
from shared.scopes import Scope
from shared.settings import Settings
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio

PATIENCE = 30


@dataclass
class Service:
    """A gateway that serves on a port, within the test's own process."""

    server: Server
    api: httpx.AsyncClient

    @property
    def gateway(self) -> Any:
        return self.server.app.state.gateway

    async def closed(self) -> None:
        """Once no stream is open, and nobody waits for anything."""
        with anyio.fail_after(PATIENCE):
            while self.gateway.streams.open or self.gateway.watcher._waiting or self.gateway.texts._following:
                await asyncio.sleep(0.01)

    async def heard(self, backstage: Backstage, job_id: UUID) -> None:
        """Once text published for the job reaches this gateway."""
        channel = growing_text.channel(job_id)
        with anyio.fail_after(PATIENCE):
            while not dict(backstage.broker.pubsub_numsub(channel))[channel.encode()]:
                await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Event:
    kind: str
    id: str
    data: Any


class Stream:
    """Reads an open stream, event after event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.aiter_lines()

    async def next(self) -> Event | None:
        """The next event; None at the end."""
        fields: dict[str, str] = {}
        with anyio.fail_after(PATIENCE):
            async for line in self._lines:
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "data" in fields:
                    return Event(fields["event"], fields["id"], json.loads(fields["data"]))
        return None

    async def rest(self) -> list[Event]:
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


@pytest.fixture
async def service(settings: Settings, backstage: Backstage) -> AsyncIterator[Service]:
    server = Server(create_app(settings), settings.model_copy(update={"gateway_port": 0}))
    serving = asyncio.create_task(server.serve())
    with anyio.fail_after(PATIENCE):
        while not server.started:
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as api:
        yield Service(server, api)
    server.should_exit = True
    await serving


@pytest.fixture
async def job_id(service: Service, png: bytes) -> UUID:
    answer = await service.api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})
    return UUID(answer.json()["id"])


@asynccontextmanager
async def following(service: Service, job_id: UUID, **headers: str) -> AsyncIterator[Stream]:
    async with service.api.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
        yield Stream(response)


async def test_a_stream_tells_a_jobs_life(service: Service, backstage: Backstage, job_id: UUID, result) -> None:
    async with following(service, job_id) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        first = await stream.next()
        assert first is not None
        assert (first.kind, first.data["state"], first.data["queue_position"]) == ("job", "queued", 1)
        states = []
        run = await asyncio.to_thread(backstage.start, job_id, Stage.VISION)
        states.append(await stream.next())
        await asyncio.to_thread(_complete_vision, backstage, run)
        states.append(await stream.next())
        run = await asyncio.to_thread(backstage.start, job_id, Stage.LLM)
        await asyncio.to_thread(backstage.finish, run, result)
        *moves, last = await stream.rest()
        assert [event.data["state"] for event in states if event] == ["vision", "llm"]
        assert {event.data["state"] for event in moves} <= {"pixel"}
        assert (last.kind, last.id, last.data["state"]) == ("job", events.LAST, "succeeded")
        assert last.data == (await service.api.get(f"/jobs/{job_id}")).json()
        assert last.data["result"]["text"] == result.text
    await service.closed()


def _complete_vision(backstage: Backstage, run: Any) -> None:
    with backstage.engine.begin() as connection:
        assert jobs.complete_vision(connection, run, jobs.Timing())


async def test_text_is_told_as_it_grows(service: Service, backstage: Backstage, job_id: UUID) -> None:
    async with following(service, job_id) as stream, following(service, job_id) as other:
        await service.heard(backstage, job_id)
        channel = growing_text.channel(job_id)
        for reader in (stream, other):
            assert (await reader.next()).kind == "job"
        assert backstage.broker.publish(channel, growing_text.encode({0: "Ein Bär"})) == 1
        for reader in (stream, other):
            event = await reader.next()
            assert (event.kind, event.data) == ("text", {"answer": 0, "text": "Ein Bär"})
        backstage.broker.publish(channel, growing_text.encode({0: "Ein Bär.\nUnd", 1: "Zwei"}))
        found = [await stream.next() for _ in range(2)]
        assert [event.data for event in found] == [
            {"answer": 0, "text": "Ein Bär.\nUnd"},
            {"answer": 1, "text": "Zwei"},
        ]
        assert len({event.id for event in found}) == 2
    await service.closed()
    with anyio.fail_after(PATIENCE):
        while backstage.broker.pubsub_channels():
            await asyncio.sleep(0.01)


async def test_a_job_that_has_finished_is_told_once(service: Service, backstage: Backstage, job_id: UUID) -> None:
    backstage.cancel(job_id)
    async with following(service, job_id) as stream:
        (event,) = await stream.rest()
    assert (event.id, event.data["state"]) == (events.LAST, "canceled")
    async with following(service, job_id, **{"Last-Event-ID": "3"}) as stream:
        assert await stream.rest() == [event]
    async with following(service, job_id, **{"Last-Event-ID": event.id}) as stream:
        assert stream.response.status_code == 204
        assert await stream.rest() == []


async def test_who_comes_back_gets_the_present_state(service: Service, backstage: Backstage, job_id: UUID) -> None:
    async with following(service, job_id) as stream:
        first = await stream.next()
    backstage.start(job_id, Stage.VISION)
    async with following(service, job_id, **{"Last-Event-ID": first.id}) as stream:
        event = await stream.next()
        assert (event.kind, event.data["state"]) == ("job", "vision")


async def test_a_lost_listening_connection_loses_no_change(
    service: Service, backstage: Backstage, job_id: UUID
) -> None:
    async with following(service, job_id) as stream:
        await stream.next()
        with backstage.engine.begin() as connection:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            connection.execute(text(f"{ended} AND datname = current_database()"))
        backstage.cancel(job_id)
        (event,) = await stream.rest()
        assert event.data["state"] == "canceled"


async def test_a_broker_that_is_away_leaves_the_states(service: Service, backstage: Backstage, job_id: UUID) -> None:
    async with following(service, job_id) as stream:
        await stream.next()
        await service.heard(backstage, job_id)
        backstage.broker.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.to_thread(backstage.start, job_id, Stage.VISION)
        assert (await stream.next()).data["state"] == "vision"
        await service.heard(backstage, job_id)
        backstage.broker.publish(growing_text.channel(job_id), growing_text.encode({0: "A cat"}))
        assert (await stream.next()).data == {"answer": 0, "text": "A cat"}


async def test_a_silent_stream_is_kept_alive(
    service: Service, backstage: Backstage, job_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    async with following(service, job_id) as stream:
        await stream.next()
        following_event = asyncio.create_task(stream.next())
        with anyio.fail_after(PATIENCE):
            while stream.comments < 3:
                await asyncio.sleep(0.01)
        backstage.cancel(job_id)
        assert (await following_event).data["state"] == "canceled"


async def test_a_stream_ends_when_it_is_old(service: Service, job_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(events, "LONGEST_SECONDS", 0.2)
    async with following(service, job_id) as stream:
        assert [event.data["state"] for event in await stream.rest()] == ["queued"]


async def test_streams_end_when_the_gateway_drains(service: Service, job_id: UUID) -> None:
    async with following(service, job_id) as stream, following(service, job_id) as other:
        await stream.next()
        service.server.should_exit = True
        assert await stream.rest() == []
        assert len(await other.rest()) <= 1


async def test_a_job_of_another_or_of_nobody_has_no_events(
    service: Service, backstage: Backstage, job_id: UUID
) -> None:
    for unknown in (uuid4(), "not-an-id"):
        answer = await service.api.get(f"/jobs/{unknown}/events")
        assert answer.status_code == (422 if isinstance(unknown, str) else 404)
    with backstage.engine.begin() as connection:
        _, secret = access.create_key(connection, "bob", [Scope.READ])
    answer = await service.api.get(f"/jobs/{job_id}/events", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


class TestALimit:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_event_streams": 2})

    async def test_of_streams_is_kept(self, service: Service, job_id: UUID) -> None:
        async with following(service, job_id) as one, following(service, job_id) as two:
            await one.next()
            await two.next()
            refused = await service.api.get(f"/jobs/{job_id}/events")
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:glamm:problem:overloaded")
            assert refused.headers["retry-after"] == "10"
        await service.closed()
        async with following(service, job_id) as three:
            assert (await three.next()).kind == "job"
