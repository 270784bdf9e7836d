"""Several processes at one job in the same instant: real connections, let go together."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import TypeVar

from sqlalchemy import Connection, Engine

from shared import jobs
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
