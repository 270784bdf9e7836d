"""Several processes at one job in the same instant: real connections, let go together."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from time import sleep
from typing import TypeVar

import pytest
from sqlalchemy import Connection, Engine

from shared import jobs
from shared.errors import NotFound
from shared.jobs import NewJob, Run, Stage, Timing

LEASE = timedelta(hours=1)
RACERS = 8
T = TypeVar("T")


def race(engine: Engine, moves: Sequence[Callable[[Connection], T]]) -> list[T]:
    """Each move in a transaction of its own, all begun before any goes."""
    barrier = Barrier(len(moves))

    def run(move: Callable[[Connection], T]) -> T:
        with engine.begin() as conn:
            barrier.wait()
            return move(conn)

    with ThreadPoolExecutor(len(moves)) as pool:
        return list(pool.map(run, moves))


def await_lock(engine: Engine, other: Future[T]) -> None:
    """Return when the other move waits for a lock, or has ended without."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        while not other.done() and not conn.exec_driver_sql(waiting).scalar_one():
            sleep(0.005)


def moved(engine: Engine, move: Callable[[Connection], T]) -> T:
    with engine.begin() as conn:
        return move(conn)


def test_a_job_that_comes_while_its_image_is_withdrawn_is_refused(engine: Engine, new_job: NewJob) -> None:
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as conn:
            jobs.withdraw_image(conn, new_job.image_id)
            coming = pool.submit(moved, engine, lambda other: jobs.create(other, new_job))
            await_lock(engine, coming)
        with pytest.raises(NotFound):
            coming.result()


def test_a_withdrawal_cancels_the_job_that_is_just_being_queued(engine: Engine, new_job: NewJob) -> None:
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as conn:
            job_id = jobs.create(conn, new_job)
            withdrawing = pool.submit(moved, engine, lambda other: jobs.withdraw_image(other, new_job.image_id))
            await_lock(engine, withdrawing)
        assert withdrawing.result() is not None
    with engine.begin() as conn:
        view = jobs.get(conn, job_id)
    assert view is not None
    assert view.state is jobs.State.CANCELED


def test_jobs_on_one_image_do_not_wait_for_each_other(engine: Engine, new_job: NewJob) -> None:
    assert len(set(race(engine, [lambda conn: jobs.create(conn, new_job)] * RACERS))) == RACERS
    with engine.begin() as one, engine.begin() as other:
        assert jobs.create(one, new_job) != jobs.create(other, new_job)


def test_one_of_many_workers_gets_the_job(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        jobs.create(conn, new_job)
        [message] = jobs.admit(conn, 1)
    runs = race(engine, [lambda conn: jobs.enter(conn, message, "w", LEASE)] * RACERS)
    assert sum(run is not None for run in runs) == 1


def test_many_schedulers_admit_no_more_than_the_window(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        for _ in range(3 * RACERS):
            jobs.create(conn, new_job)
    admitted = [message for part in race(engine, [lambda conn: jobs.admit(conn, 5)] * RACERS) for message in part]
    assert len(admitted) == len(set(admitted)) == 5


def test_two_sweeps_never_send_the_same_job_twice(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        for _ in range(20):
            jobs.create(conn, new_job)
        sent = jobs.admit(conn, 20)
    # Half an hour: what one sweep has just sent again is fresh for the other.
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE jobs SET sent_at = now() - interval '1 h'")
    sweeps = race(engine, [lambda conn: jobs.sweep(conn, timedelta(minutes=30), 3)] * RACERS)
    assert Counter(message for swept in sweeps for message in swept.resend) == Counter(sent)


def test_a_job_is_completed_or_canceled_and_not_both(engine: Engine, start: Callable[..., Run]) -> None:
    for _ in range(10):
        run = start(Stage.VISION)
        completed, canceled = race(
            engine,
            [
                lambda conn, run=run: jobs.complete_vision(conn, run, Timing()) is not None,
                lambda conn, run=run: jobs.cancel(conn, run.job_id),
            ],
        )
        with engine.begin() as conn:
            view = jobs.get(conn, run.job_id)
        assert view is not None
        assert canceled
        assert view.state is jobs.State.CANCELED
        assert (view.stages[0].outcome is jobs.Outcome.COMPLETED) == completed


def test_a_sweep_and_a_late_completion_agree_on_who_has_the_job(
    engine: Engine, start: Callable[..., Run], let_lease_run_out: Callable[[Run], None]
) -> None:
    for _ in range(10):
        run = start(Stage.VISION)
        let_lease_run_out(run)
        completed, resent = race(
            engine,
            [
                lambda conn, run=run: jobs.complete_vision(conn, run, Timing()) is not None,
                lambda conn: jobs.sweep(conn, LEASE, 3).resend != [],
            ],
        )
        assert completed != resent
