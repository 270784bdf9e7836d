"""How fast a batch goes and when it will be done: also one that has just begun, stands still or comes to an end."""

from datetime import datetime
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from shared.errors import InvalidInput
from shared.jobs import Result, Stage
from tests.gateway.batches.conftest import manifest, store, submit, work_off
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio


async def begin(api: httpx.AsyncClient, count: int) -> tuple[str, list[UUID]]:
    """A batch and its jobs."""
    created = await submit(api, manifest([{"image_id": await store(api), "task": "gcg"}]) * count)
    url = created.headers["Location"]
    return url, [UUID(job["id"]) for job in (await api.get(f"{url}/jobs")).json()["jobs"]]


def fail(backstage: Backstage, job_id: UUID) -> None:
    problem = InvalidInput("image", "It is blue.", "Paint it.").to_problem()
    backstage.fail(backstage.start(job_id, Stage.VISION), problem)


def change(backstage: Backstage, statement: str, *job_ids: UUID) -> None:
    with backstage.engine.begin() as connection:
        connection.execute(text(statement), {"jobs": list(job_ids)} if job_ids else {})


def read(backstage: Backstage, column: str) -> datetime:
    with backstage.engine.connect() as connection:
        instant: datetime = connection.execute(text(f"SELECT {column} FROM batches")).scalar_one()
    return instant


async def paced(api: httpx.AsyncClient, backstage: Backstage, url: str, ended: int, since: datetime) -> None:
    """So many jobs ended since then, at a rate that is told with what is left to do."""
    before = read(backstage, "clock_timestamp()")
    batch = (await api.get(url)).json()
    after = read(backstage, "clock_timestamp()")
    least, most = (ended / min(60.0, (instant - since).total_seconds()) for instant in (after, before))
    assert least <= batch["rate"] <= most
    left = sum(batch["counts"][state] for state in ("queued", "vision", "llm", "pixel"))
    assert batch["eta_seconds"] == pytest.approx(left / batch["rate"])


async def test_a_young_batch_is_measured_from_its_first_jobs_admission(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    url, jobs = await begin(api, 5)
    assert [(await api.get(url)).json()[name] for name in ("rate", "eta_seconds")] == [0.0, None]
    backstage.succeed(jobs[0], result)
    fail(backstage, jobs[1])
    backstage.cancel(jobs[2])
    change(backstage, "UPDATE batches SET running_since = now() - interval '50 s'")
    change(backstage, "UPDATE jobs SET admitted_at = now() - interval '20 s' WHERE id = ANY(:jobs)", jobs[0])
    # What was canceled is no pace.
    await paced(api, backstage, url, 2, read(backstage, "(SELECT min(admitted_at) FROM jobs)"))


async def test_jobs_that_were_canceled_with_the_batch_are_no_pace_and_it_has_no_end_to_wait_for(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    url, jobs = await begin(api, 4)
    backstage.succeed(jobs[0], result)
    canceling = (await api.post(f"{url}/cancel")).json()
    assert (canceling["state"], canceling["counts"]["succeeded"], canceling["eta_seconds"]) == ("canceled", 1, None)
    assert canceling["rate"] > 0
    change(backstage, "UPDATE jobs SET finished_at = now() - interval '2 minutes' WHERE id = ANY(:jobs)", jobs[0])
    work_off(backstage)
    canceled = (await api.get(url)).json()
    assert (canceled["counts"]["canceled"], canceled["rate"], canceled["eta_seconds"]) == (3, 0.0, None)


async def test_a_batch_that_was_paused_is_measured_from_when_it_went_on(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    url, jobs = await begin(api, 4)
    for job_id in jobs[:2]:
        backstage.succeed(job_id, result)
    change(
        backstage,
        "UPDATE batches SET running_since = now() - interval '1 h'; "
        "UPDATE jobs SET admitted_at = now() - interval '1 h', finished_at = now() - interval '40 s' "
        "WHERE state = 'succeeded'",
    )
    await paced(api, backstage, url, 2, read(backstage, "running_since"))
    assert (await api.post(f"{url}/pause")).json()["eta_seconds"] is None
    assert [(await api.post(f"{url}/resume")).json()[name] for name in ("rate", "eta_seconds")] == [0.0, None]
    went_on = read(backstage, "running_since")
    backstage.succeed(jobs[2], result)
    change(backstage, "UPDATE jobs SET admitted_at = now() - interval '1 h' WHERE id = ANY(:jobs)", jobs[2])
    await paced(api, backstage, url, 1, went_on)
    # It goes on already.
    await api.post(f"{url}/resume")
    assert read(backstage, "running_since") == went_on


async def test_a_retried_batch_is_measured_from_then(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    url, jobs = await begin(api, 3)
    for job_id in jobs:
        fail(backstage, job_id)
    work_off(backstage)
    change(backstage, "UPDATE batches SET running_since = now() - interval '1 h'")
    await api.post(f"{url}/retry")
    work_off(backstage)
    backstage.succeed(jobs[0], result)
    change(backstage, "UPDATE batches SET running_since = running_since - interval '5 s'")
    change(backstage, "UPDATE jobs SET admitted_at = now() - interval '4 s' WHERE id = ANY(:jobs)", jobs[0])
    await paced(api, backstage, url, 1, read(backstage, "(SELECT min(admitted_at) FROM jobs)"))
    again = read(backstage, "running_since")
    await api.post(f"{url}/retry")
    assert read(backstage, "running_since") == again


async def test_few_jobs_in_a_minute_are_a_slow_pace(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    """The last one was quick, but the batch has waited between them for its turn."""
    url, jobs = await begin(api, 3)
    for job_id in jobs[:2]:
        backstage.succeed(job_id, result)
    change(backstage, "UPDATE batches SET running_since = now() - interval '1 h'")
    change(backstage, "UPDATE jobs SET finished_at = now() - interval '90 s' WHERE id = ANY(:jobs)", jobs[0])
    await paced(api, backstage, url, 1, read(backstage, "running_since"))
