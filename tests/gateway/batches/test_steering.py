"""What is done to a batch, by whom, and who is told when nothing is left to do."""

from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from shared import batches, jobs
from shared.errors import InvalidInput
from shared.jobs import Result, Stage
from shared.settings import Settings
from shared.tables import LOCAL_OWNER, webhook_deliveries
from shared.tables import batches as batch_table
from shared.webhooks import endpoints
from shared.webhooks.events import EventType
from tests.gateway.batches.conftest import limited, lines_of, manifest, store, submit, work_off
from tests.gateway.conftest import Backstage

pytestmark = pytest.mark.anyio


async def test_a_batch_is_paused_resumed_and_cancelled(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    image = await store(api)
    url = (await submit(api, manifest([{"image_id": image, "task": "gcg"}]) * 4)).headers["Location"]

    def admitted() -> int:
        with backstage.engine.begin() as connection:
            return len(jobs.admit(connection, 1 + sum(counted()[name] for name in ("vision", "llm", "pixel"))))

    def counted() -> dict[str, int]:
        with backstage.engine.connect() as connection:
            (view,) = batches.page(connection, LOCAL_OWNER, None, 1)
            return {state.value: count for state, count in view.counts.items()}

    assert admitted() == 1
    assert (await api.post(f"{url}/pause")).json()["state"] == "paused"
    assert admitted() == 0
    assert (await api.post(f"{url}/resume")).json()["state"] == "running"
    assert admitted() == 1

    cancelled = (await api.post(f"{url}/cancel")).json()
    assert cancelled["state"] == "canceled"
    assert admitted() == 0
    work_off(backstage)
    batch = (await api.get(url)).json()
    assert (batch["state"], batch["counts"]["canceled"], batch["progress"]) == ("finished", 4, 1.0)
    for move in ("pause", "resume", "retry"):
        assert (await api.post(f"{url}/{move}")).status_code == 409
    assert (await api.post(f"{url}/cancel")).status_code == 200


async def test_failed_jobs_and_they_alone_are_retried(
    api: httpx.AsyncClient, backstage: Backstage, result: Result
) -> None:
    image = await store(api)
    created = await submit(api, manifest([{"image_id": image, "task": "gcg"}]) * 3)
    url = created.headers["Location"]
    first, second, third = ((UUID(job["id"])) for job in (await api.get(f"{url}/jobs")).json()["jobs"])
    backstage.succeed(first, result)
    for job_id in (second, third):
        problem = InvalidInput("image", "It is blue.", "Paint it.").to_problem()
        backstage.fail(backstage.start(job_id, Stage.VISION), problem)
    work_off(backstage)
    batch = (await api.get(url)).json()
    assert (batch["state"], batch["counts"]["failed"]) == ("finished", 2)
    assert [(each["jobs"], each["line"], each["detail"]) for each in batch["problems"]] == [(2, 2, "It is blue.")]
    assert [line["error"]["detail"] for line in lines_of(await api.get(f"{url}/errors.jsonl"))] == ["It is blue."] * 2

    assert (await api.post(f"{url}/retry")).json()["state"] == "running"
    work_off(backstage)
    batch = (await api.get(url)).json()
    assert (batch["state"], batch["counts"]["queued"], batch["counts"]["succeeded"]) == ("running", 2, 1)
    backstage.succeed(second, result)
    backstage.succeed(third, result)
    work_off(backstage)
    assert (await api.get(url)).json()["counts"]["succeeded"] == 3
    assert [line["line"] for line in lines_of(await api.get(f"{url}/results.jsonl"))] == [1, 2, 3]


async def test_a_retry_counts_against_what_may_wait(
    api: httpx.AsyncClient, settings: Settings, backstage: Backstage
) -> None:
    line = manifest([{"image_id": await store(api), "task": "gcg"}])
    first, second, large = [(await submit(api, line * count)).headers["Location"] for count in (2, 2, 4)]
    for url in (first, second, large):
        for job in (await api.get(f"{url}/jobs")).json()["jobs"]:
            problem = InvalidInput("image", "It is blue.", "Paint it.").to_problem()
            backstage.fail(backstage.start(UUID(job["id"]), Stage.VISION), problem)
    work_off(backstage)

    async def refused(url: str) -> str | None:
        """Its Retry-After."""
        answer = await small.post(f"{url}/retry")
        assert (answer.status_code, answer.json()["field"]) == (429, "queued_jobs"), answer.text
        assert (await small.get(url)).json()["state"] == "finished"
        return answer.headers.get("retry-after")

    async with limited(settings, 3) as small:
        # Asked for twice it counts once, and before it is worked off as well.
        for _ in range(2):
            assert (await small.post(f"{first}/retry")).status_code == 200
        assert await refused(second) == "30"
        work_off(backstage)
        assert await refused(second) == "30"
        assert await refused(large) is None
        assert (await small.post(f"{first}/retry")).status_code == 200
        await small.post(f"{first}/cancel")
        work_off(backstage)
        assert (await small.post(f"{second}/retry")).status_code == 200
    work_off(backstage)
    with backstage.engine.connect() as connection:
        assert jobs.count_queued(connection, LOCAL_OWNER) == 2


async def test_what_a_finished_batch_counts_is_kept(api: httpx.AsyncClient, backstage: Backstage) -> None:
    line = manifest([{"image_id": await store(api), "task": "gcg"}])
    urls = [(await submit(api, line * jobs)).headers["Location"] for jobs in (2, 3, 4)]
    for url in urls[:2]:
        await api.post(f"{url}/cancel")
    work_off(backstage)
    with backstage.engine.connect() as connection:
        kept = connection.execute(select(batch_table.c.counts).order_by(batch_table.c.id)).scalars().all()
    assert kept == [{"canceled": 2}, {"canceled": 3}, None]
    for url, counts in zip(urls, ({"canceled": 2}, {"canceled": 3}, {"queued": 4}), strict=True):
        found = (await api.get(url)).json()["counts"]
        assert {state: jobs for state, jobs in found.items() if jobs} == counts
    # As a version wrote it that counted the jobs of all batches, and may still run beside this one.
    with backstage.engine.begin() as connection:
        connection.exec_driver_sql("""UPDATE batches SET counts = '{"canceled": 9}' WHERE counts IS NOT NULL""")
    assert (await api.get(urls[0])).json()["counts"]["canceled"] == 2


async def test_a_finished_batch_is_told_of_once(api: httpx.AsyncClient, backstage: Backstage, result: Result) -> None:
    """An endpoint hears of the job, by the name that the client gave it, and of the batch."""
    with backstage.engine.begin() as connection:
        wanted = [EventType.JOB_SUCCEEDED, EventType.BATCH_FINISHED]
        endpoints.create(connection, LOCAL_OWNER, "https://hooks.example/", wanted, "", most=1)
    created = await submit(api, manifest([{"custom_id": "a", "image_id": await store(api), "task": "gcg"}]))
    batch = created.json()
    (job,) = (await api.get(batch["links"]["jobs"])).json()["jobs"]
    work_off(backstage)
    backstage.succeed(UUID(job["id"]), result)
    for _ in range(2):
        work_off(backstage)
    with backstage.engine.connect() as connection:
        told = connection.execute(select(webhook_deliveries).order_by(webhook_deliveries.c.id)).all()
    assert [row.event for row in told] == ["job.succeeded", "batch.finished"]
    of_job, of_batch = (row.payload["data"] for row in told)
    assert (of_job["id"], of_job["batch_id"], of_job["custom_id"]) == (job["id"], batch["id"], "a")
    assert (of_batch["id"], of_batch["state"]) == (batch["id"], "finished")


async def test_a_canceled_batch_is_told_of_as_it_is_shown(api: httpx.AsyncClient, backstage: Backstage) -> None:
    with backstage.engine.begin() as connection:
        endpoints.create(connection, LOCAL_OWNER, "https://hooks.example/", [EventType.BATCH_FINISHED], "", most=1)
    url = (await submit(api, manifest([{"image_id": await store(api), "task": "gcg"}]))).headers["Location"]
    assert (await api.post(f"{url}/cancel")).json()["state"] == "canceled"
    work_off(backstage)
    with backstage.engine.connect() as connection:
        told = connection.execute(select(webhook_deliveries.c.payload)).scalar_one()
    assert told["data"]["state"] == (await api.get(url)).json()["state"] == "finished"


async def test_another_owners_batch_is_not_there(api: httpx.AsyncClient, backstage: Backstage) -> None:
    image = await store(api)
    url = (await submit(api, manifest([{"image_id": image, "task": "gcg"}]))).headers["Location"]
    with backstage.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO owners (id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'b')")
        connection.exec_driver_sql("UPDATE batches SET owner_id = '00000000-0000-7000-8000-000000000001'")
    for path in ("", "/jobs", "/results.jsonl", "/errors.jsonl"):
        assert (await api.get(url + path)).status_code == 404
    for move in ("cancel", "pause", "resume", "retry"):
        assert (await api.post(f"{url}/{move}")).status_code == 404
    assert (await api.get("/batches")).json() == {"batches": [], "next": None}
