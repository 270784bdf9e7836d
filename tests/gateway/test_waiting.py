"""Long polls: they end when the job is finished, and no event between two looks is missed."""

import asyncio
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import text

from services.gateway.watcher import Watcher
from shared.database import Notification
from shared.jobs import Stage
from shared.settings import Settings

pytestmark = pytest.mark.anyio

PATIENCE = 30


@pytest.fixture
async def job_id(api, png) -> UUID:
    answer = await api.post("/jobs", files={"image": ("a.png", png)}, data={"task": "gcg"})
    return UUID(answer.json()["id"])


async def waiting_for(app, count: int) -> None:
    """Until so many requests wait."""
    watcher = app.state.gateway.watcher
    with anyio.fail_after(PATIENCE):
        while sum(map(len, watcher._waiting.values())) < count:
            await asyncio.sleep(0.01)


async def listening(backstage, since: int = 0) -> int:
    """The server process that serves the listening connection, once it is another one than `since`."""
    query = text("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()")
    with anyio.fail_after(PATIENCE):
        while True:
            with backstage.engine.connect() as connection:
                pids = [pid for pid in connection.execute(query).scalars() if pid != since]
            if pids:
                return pids[0]
            await asyncio.sleep(0.01)


async def test_a_wait_ends_when_the_job_succeeds(api, app, backstage, job_id, result) -> None:
    await listening(backstage)
    async with asyncio.TaskGroup() as tasks:
        polls = [tasks.create_task(api.get(f"/jobs/{job_id}?wait=60")) for _ in range(5)]
        await waiting_for(app, 5)
        backstage.encode(job_id)
        backstage_run = backstage.start(job_id, Stage.LLM)
        assert not any(poll.done() for poll in polls)
        backstage.finish(backstage_run, result)
        with anyio.fail_after(PATIENCE):
            answers = await asyncio.gather(*polls)
    assert {answer.json()["state"] for answer in answers} == {"succeeded"}
    assert {answer.json()["result"]["text"] for answer in answers} == {result.text}
    assert app.state.gateway.watcher._waiting == {}


async def test_a_wait_ends_when_the_job_is_canceled(api, app, backstage, job_id) -> None:
    await listening(backstage)
    poll = asyncio.create_task(api.get(f"/jobs/{job_id}?wait=60"))
    await waiting_for(app, 1)
    backstage.cancel(job_id)
    with anyio.fail_after(PATIENCE):
        assert (await poll).json()["state"] == "canceled"


async def test_a_finished_job_does_not_wait(api, backstage, job_id) -> None:
    backstage.cancel(job_id)
    with anyio.fail_after(PATIENCE):
        assert (await api.get(f"/jobs/{job_id}?wait=60")).json()["state"] == "canceled"


async def test_a_wait_that_ends_shows_the_job_as_it_is_then(api, app, backstage, job_id) -> None:
    poll = asyncio.create_task(api.get(f"/jobs/{job_id}?wait=1"))
    await waiting_for(app, 1)
    backstage.start(job_id, Stage.VISION)
    assert (await poll).json()["state"] == "vision"


async def test_an_unknown_job_is_not_waited_for(api) -> None:
    with anyio.fail_after(PATIENCE):
        assert (await api.get(f"/jobs/{uuid4()}?wait=60")).status_code == 404


async def test_a_wait_survives_the_loss_of_the_listening_connection(api, app, backstage, job_id) -> None:
    first = await listening(backstage)
    poll = asyncio.create_task(api.get(f"/jobs/{job_id}?wait=60"))
    await waiting_for(app, 1)
    with backstage.engine.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": first})
    backstage.cancel(job_id)
    with anyio.fail_after(PATIENCE):
        assert (await poll).json()["state"] == "canceled"
    assert await listening(backstage, since=first) != first


async def test_waits_end_when_the_gateway_stops(api, app, job_id) -> None:
    polls = [asyncio.create_task(api.get(f"/jobs/{job_id}?wait=60")) for _ in range(3)]
    await waiting_for(app, 3)
    app.state.gateway.watcher.close()
    with anyio.fail_after(PATIENCE):
        assert {(await poll).json()["state"] for poll in polls} == {"queued"}
        assert (await api.get(f"/jobs/{job_id}?wait=60")).json()["state"] == "queued"


class TestTheServersLimit:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_wait_seconds": 0.2})

    async def test_a_longer_wait_is_cut_to_it(self, api, job_id) -> None:
        with anyio.fail_after(PATIENCE):
            assert (await api.get(f"/jobs/{job_id}?wait=86400")).json()["state"] == "queued"


async def test_an_event_between_two_looks_is_not_missed() -> None:
    """The watcher alone: a job that finishes after the look and before the wait has set the event already."""
    job_id, other = uuid4(), uuid4()
    events: asyncio.Queue[Notification] = asyncio.Queue()

    async def listen():
        while True:
            yield await events.get()

    watcher = Watcher(listen)
    running = asyncio.create_task(watcher.run())
    with watcher.watch(job_id) as moved, watcher.watch(other) as other_moved:
        for state in ("vision", "llm", "pixel"):
            events.put_nowait(Notification(job_id, state))
        events.put_nowait(Notification(other, "succeeded"))
        with anyio.fail_after(PATIENCE):
            await other_moved.wait()
        assert not moved.is_set()
        events.put_nowait(Notification(job_id, "succeeded"))
        with anyio.fail_after(PATIENCE):
            await moved.wait()
        moved.clear()
        events.put_nowait(Notification(None, None))
        with anyio.fail_after(PATIENCE):
            await moved.wait()
    running.cancel()
