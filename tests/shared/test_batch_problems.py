"""Why jobs of a batch failed, as the batch tells it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from shared import batches, jobs
from shared.batches import ProblemCount, RowFilter
from shared.database import create_engine
from shared.errors import Expired, FeaturesLost
from shared.tables import LOCAL_OWNER
from tests.batches import Batches


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def test_a_problem_is_counted_as_its_jobs_are_found_by_its_type_alone(engine: Engine) -> None:
    expired, lost = Expired().to_problem(), FeaturesLost("sam").to_problem()
    renamed = replace(expired, title="Too late", detail="As another version says it.")
    made = Batches(engine)
    batch = made.add()
    waiting = [made.queue(batch) for _ in range(4)]
    with engine.begin() as conn:
        messages = {message.job_id: message for message in jobs.admit(conn, window=10)}
        for job, problem in zip(waiting, (lost, expired, renamed, renamed), strict=True):
            run = jobs.enter(conn, messages[job], "host:1", timedelta(hours=1))
            assert run is not None
            assert jobs.fail(conn, run, problem)
        told = batches.get(conn, batch, LOCAL_OWNER).problems
        found = [
            [row.line for row in batches.jobs_page(conn, batch, RowFilter(error_type=one.type), limit=10)]
            for one in told
        ]
    assert told == (
        ProblemCount(expired.type, expired.title, 3, 2, expired.detail),
        ProblemCount(lost.type, lost.title, 1, 1, lost.detail),
    )
    assert found == [[2, 3, 4], [1]]
