"""A migrated database with one image in it, and the parts of a job's life that most stories begin with."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, insert, text

from shared import jobs
from shared.database import create_engine
from shared.masks import Rle
from shared.tables import LOCAL_OWNER, images
from shared.tasks import Ask, Task

LEASE = timedelta(hours=1)
IMAGE = "ab" * 32

Advance = Callable[..., jobs.Run]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=10)
    with engine.begin() as conn:
        conn.execute(
            insert(images).values(
                id=IMAGE,
                object_key=f"images/ab/{IMAGE}",
                media_type="image/png",
                width=40,
                height=30,
                bytes=99,
                owner_id=LOCAL_OWNER,
            )
        )
    yield engine
    engine.dispose()


@pytest.fixture
def new_job() -> jobs.NewJob:
    return jobs.NewJob(IMAGE, Ask(Task.GCG, "Describe the image."))


@pytest.fixture
def generations() -> list[jobs.Generation]:
    return [
        jobs.Generation("<p> A cat </p> [SEG] sleeps.", (5, 6, 7), bytes(range(16)), 2, 2),
        jobs.Generation("Nothing.", (8,), b"", 0, 2),
    ]


@pytest.fixture
def result() -> jobs.Result:
    cat = jobs.Phrase("A cat", (0, 5), Rle(30, 40, "abc"), (1.0, 2.0, 3.5, 4.0), 7, 0.75)
    nothing = jobs.Phrase("nothing", (0, 7), Rle(30, 40, "`9"), None, 0, 0.1)
    return jobs.Result(
        (
            jobs.Answer("A cat sleeps.", "<p> A cat </p> [SEG] sleeps.", (cat,)),
            jobs.Answer("nothing", "<p> nothing </p> [SEG]", (nothing,)),
        ),
        "fingerprint",
    )


@pytest.fixture
def start(engine: Engine, new_job: jobs.NewJob, generations: list[jobs.Generation]) -> Advance:
    """`start(stage)`: a new job, entered in that stage by a worker."""

    def start(stage: jobs.Stage = jobs.Stage.VISION, *, worker: str = "first") -> jobs.Run:
        with engine.begin() as conn:
            jobs.create(conn, new_job)
            message: jobs.Message | None = jobs.admit(conn, window=1000)[-1]
            while True:
                assert message is not None
                run = jobs.enter(conn, message, worker, LEASE)
                assert run is not None
                if run.stage is stage:
                    return run
                message = (
                    jobs.complete_vision(conn, run, jobs.Timing())
                    if run.stage is jobs.Stage.VISION
                    else jobs.complete_llm(conn, run, generations, jobs.Timing())
                )

    return start


@pytest.fixture
def let_lease_run_out(engine: Engine) -> Callable[[jobs.Run], None]:
    """Time passes for one run: its worker has not renewed the lease."""

    def let_lease_run_out(run: jobs.Run) -> None:
        with engine.begin() as conn:
            conn.execute(
                text("UPDATE jobs SET lease_expires_at = now() - interval '1 s' WHERE lease_token = :token"),
                {"token": run.token},
            )

    return let_lease_run_out
