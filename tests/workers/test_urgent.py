"""Urgent jobs and bulk in the same workers: who waits for whom, and what a broken connection does to either kind."""

import time
from pathlib import Path
from uuid import UUID

import pytest
import redis

from deploy.embedded.redis import RedisServer
from shared.jobs import Stage, State
from shared.priority import Priority
from shared.queue import queue_of
from shared.tasks import Ask, Task
from tests.workers.conftest import StartWorker, scheduling
from tests.workers.harness import SECONDS, Place
from tests.workers.stepwise_worker import PERMITS

THREADS = 8  # of the workers here, for jobs that are not urgent
LEFT_OVER = 4
STEPS = 200
ENDLESS = 16_000  # tokens: more than the steps that are permitted


def bulk_messages(place: Place, stage: Stage) -> int:
    """How many lie in the broker."""
    with redis.Redis.from_url(place.settings.broker_url) as client:
        return int(client.llen(queue_of(stage, urgent=False)))


def permit_steps(place: Place) -> None:
    with redis.Redis.from_url(place.settings.broker_url) as client:
        client.rpush(PERMITS, *range(STEPS))


@pytest.mark.usefixtures("scheduler")
@pytest.mark.parametrize("stage", Stage)
def test_an_urgent_job_is_in_the_engine_one_step_after_its_message(
    place: Place, worker: StartWorker, stage: Stage
) -> None:
    """Bulk has every place of the engine and all threads that it may have, and more of it waits."""
    worker(",".join(other for other in Stage if other is not stage))
    one_place = {f"{stage}_batch": 1}
    watched = worker(stage, program="stepwise", log_level="DEBUG", max_new_tokens=ENDLESS, **one_place)
    pictures = [place.picture(seed) for seed in range(THREADS + LEFT_OVER)]
    bulk = [place.submit(place.upload(picture), priority=Priority.BULK.rank) for picture in pictures]
    watched.until("stage.in_engine", times=THREADS)
    deadline = time.monotonic() + SECONDS
    while bulk_messages(place, stage) != LEFT_OVER:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    ask = Ask(Task.GROUND, "A red corner.", phrases=("A red corner",))
    image_id = place.upload(place.picture(100))
    urgent = place.submit(image_id, ask, priority=Priority.INTERACTIVE.rank)
    watched.until("stage.in_engine", times=THREADS + 1)
    # No step has ended since its message came, for none was permitted to. From here on the engine counts.
    permit_steps(place)
    (run,) = [run for run in place.succeeded(urgent).stages if run.stage is stage]
    assert run.timing is not None
    assert run.timing.engine_wait_steps == 1
    if stage is Stage.LLM:
        # One after the other comes and goes, and what began before them is still at it.
        another = place.submit(image_id, ask, priority=Priority.INTERACTIVE.rank)
        permit_steps(place)
        place.succeeded(another)
        assert {place.view(job_id).state for job_id in bulk} == {State.LLM}
        assert bulk_messages(place, stage) == LEFT_OVER


def test_a_broker_that_restarts_loses_nothing_of_either_kind(place: Place, worker: StartWorker, tmp_path: Path) -> None:
    with RedisServer.broker(tmp_path / "broker") as broker:
        place.settings = place.settings.model_copy(update={"broker_url": broker.url, "resend_seconds": 1.0})

        def submit(seed: int) -> list[UUID]:
            image_id = place.upload(place.picture(seed))
            return [place.submit(image_id, priority=priority.rank) for priority in Priority]

        with scheduling(place.settings):
            worker("vision,llm,pixel", broker_url=broker.url)
            submitted = submit(0)
            place.succeeded(submitted[0])
            broker.stop()
            submitted += submit(1)
            broker.start()
            submitted += submit(2)
            for job_id in submitted:
                place.succeeded(job_id)
