"""Who goes first: by priority, then in turns between owners, then by age."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, insert, select, update

from shared import jobs
from shared.ids import uuid7
from shared.jobs import NewJob
from shared.jobs.statements import now
from shared.priority import Priority
from shared.states import BatchState
from shared.tables import batches, images, owners
from shared.tables import jobs as job_table
from shared.tasks import Ask, Task
from tests.shared.jobs.conftest import IMAGE, LEASE

A, B, C = (UUID(int=number) for number in (1, 2, 3))
ASK = Ask(Task.GCG)


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    """Inside one transaction: all is created at one time, unless a test says otherwise."""
    with engine.begin() as connection:
        image = connection.execute(select(images)).mappings().one()
        for owner in (A, B, C):
            connection.execute(insert(owners).values(id=owner, name=f"owner {owner.int}"))
            connection.execute(insert(images).values({**image, "owner_id": owner}))
        yield connection


def single(conn: Connection, owner: UUID, priority: int = Priority.BULK.rank, count: int = 1) -> list[UUID]:
    return [jobs.create(conn, NewJob(IMAGE, ASK, priority, owner_id=owner)) for _ in range(count)]


def batch(
    conn: Connection, owner: UUID, count: int, priority: int = Priority.BULK.rank, state: str = "running"
) -> list[UUID]:
    batch_id = uuid7()
    conn.execute(
        insert(batches).values(
            id=batch_id, owner_id=owner, priority=priority, state=state, jobs=count, expires_at=now + LEASE
        )
    )
    made = single(conn, owner, priority, count)
    for line, job_id in enumerate(made, 1):
        conn.execute(update(job_table).where(job_table.c.id == job_id).values(batch_id=batch_id, line=line))
    return made


def admitted(conn: Connection, window: int, reserve: int = 0) -> list[UUID]:
    return [message.job_id for message in jobs.admit(conn, window, reserve)]


def finish(conn: Connection, done: Sequence[UUID]) -> None:
    for job_id in done:
        assert jobs.cancel(conn, job_id)


def test_owners_take_turns_however_much_one_of_them_has(conn: Connection) -> None:
    much = batch(conn, A, 20)
    little, least = batch(conn, B, 3), single(conn, C)
    first = admitted(conn, 6)
    assert set(first) == {*much[:3], *little[:2], *least}
    finish(conn, [least[0], much[0]])
    # A has two in flight and B two: A's batch is the older one.
    assert set(admitted(conn, 6)) == {much[3], little[2]}
    finish(conn, [*little, *much[1:4]])
    assert admitted(conn, 6) == much[4:10]


def test_who_comes_late_to_a_full_service_is_next(conn: Connection) -> None:
    much = batch(conn, A, 20)
    assert admitted(conn, 4) == much[:4]
    late = single(conn, B, count=2)
    finish(conn, much[:2])
    assert admitted(conn, 4) == late


def test_priority_goes_before_fairness(conn: Connection) -> None:
    urgent = batch(conn, A, 3, Priority.INTERACTIVE.rank)
    bulk = single(conn, B)
    assert admitted(conn, 3) == urgent
    finish(conn, urgent)
    assert admitted(conn, 3) == bulk


def test_within_an_owner_batches_go_by_age_and_single_jobs_among_them(conn: Connection) -> None:
    older, between, younger = batch(conn, A, 2), single(conn, A), batch(conn, A, 2)
    for age, made in enumerate((younger, between, older)):
        earlier = now - timedelta(hours=1 + age)
        conn.execute(update(job_table).where(job_table.c.id.in_(made)).values(created_at=earlier))
    assert admitted(conn, 1) == older[:1]
    assert admitted(conn, 9) == [older[1], *between, *younger]


def test_the_reserve_is_for_interactive_jobs_alone(conn: Connection) -> None:
    bulk = batch(conn, A, 10)
    assert admitted(conn, 4, reserve=2) == bulk[:4]
    assert admitted(conn, 4, reserve=2) == []
    urgent = single(conn, B, Priority.INTERACTIVE.rank, 3)
    assert admitted(conn, 4, reserve=2) == urgent[:2]
    assert admitted(conn, 4, reserve=2) == []
    finish(conn, bulk[:2])
    # Two places are free, but the reserve is what interactive jobs stand in now.
    assert admitted(conn, 4, reserve=2) == urgent[2:]


@pytest.mark.parametrize("state", [BatchState.PAUSED, BatchState.CANCELED])
def test_a_batch_that_does_not_run_is_passed_over(conn: Connection, state: BatchState) -> None:
    batch(conn, A, 5, state=state)
    going = batch(conn, A, 2)
    assert admitted(conn, 10) == going


def test_many_batches_are_admitted_in_rounds(conn: Connection) -> None:
    made = [batch(conn, A, 1)[0] for _ in range(12)]
    found: list[UUID] = []
    while more := admitted(conn, 64):
        found += more
    assert found == made
