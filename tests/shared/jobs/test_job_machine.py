"""The life cycle under events in any order: doubled, late and stale messages, workers that return, crashes, sweeps.

Hypothesis drives the real state machine in a real Postgres next to a model of it in a few lines of Python, which
says what each event must answer. After every event the rows are read back and held against the model and the
promises of the service. At the end everything that is in the air is lost, and each job must still come to an end.
"""

from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, create_engine, text

from shared import jobs
from shared.errors import Unavailable
from shared.jobs import Message, NewJob, Run, Stage, State, Timing
from shared.priority import Priority, is_urgent
from shared.tables import LOCAL_OWNER
from shared.webhooks import endpoints
from shared.webhooks.events import EventType

LEASE = timedelta(hours=1)
RESEND_AFTER = timedelta(hours=1)
PRIORITIES = st.sampled_from([Priority.BULK.rank, Priority.BULK.rank + 1, Priority.INTERACTIVE.rank])
WINDOW = 2
MAX_ATTEMPTS = 2
MAX_REWINDS = 1
PROBLEM = Unavailable("object store").to_problem()

pytestmark = pytest.mark.long


@dataclass
class Expected:
    """What the model knows of one job."""

    priority: int
    order: int
    state: State = State.QUEUED
    attempt: int = 0
    rewinds: int = 0
    holder: Run | None = None
    lease_is_over: bool = False
    message_is_old: bool = False
    is_late: bool = False
    generated: bool = False
    winner: UUID | None = None

    def release(self, state: State, attempt: int) -> None:
        self.state, self.attempt = state, attempt
        self.holder, self.lease_is_over, self.message_is_old = None, False, False

    def message(self, job_id: UUID) -> Message:
        return Message(job_id, Stage(self.state), self.attempt, is_urgent(self.priority))


class Crash(Exception):  # noqa: N818
    """The process dies before its transaction is committed."""


class JobLife(RuleBasedStateMachine):
    engine: Engine
    new_job: NewJob
    generations: list[jobs.Generation]

    job_ids = Bundle("job_ids")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[UUID, Expected] = {}
        self.runs: dict[UUID, list[Run]] = defaultdict(list)
        self.final: dict[UUID, Any] = {}
        with self.engine.begin() as conn:
            conn.execute(text("DELETE FROM jobs"))
            conn.execute(text("DELETE FROM webhook_endpoints"))
            endpoints.create(conn, LOCAL_OWNER, "http://receiver.example/", tuple(EventType), "", most=1)

    @initialize(target=job_ids, priorities=st.lists(PRIORITIES, min_size=1, max_size=3))
    def begin(self, priorities: list[int]) -> Any:
        created = [self._create(priority) for priority in priorities]
        self._admit()
        return multiple(*created)

    @rule(target=job_ids, priority=PRIORITIES)
    def submit(self, priority: int) -> UUID:
        return self._create(priority)

    @rule()
    def admit(self) -> None:
        self._admit()

    @rule(job_id=job_ids)
    def deliver_twice(self, job_id: UUID) -> None:
        if self.model[job_id].state.in_flight:
            message = self.model[job_id].message(job_id)
            self._enter(message, "first")
            assert self._enter(message, "second") is None

    @rule(job_id=job_ids)
    def deliver_what_is_past_or_to_come(self, job_id: UUID) -> None:
        """Of all the messages that a job can have in its life, those of another stage or attempt arrive."""
        for stage, attempt in product(Stage, range(MAX_ATTEMPTS)):
            job = self.model[job_id]
            message = Message(job_id, stage, attempt, is_urgent(job.priority))
            if not job.state.in_flight or message != job.message(job_id):
                assert self._enter(message, "stray") is None

    @rule(job_id=job_ids)
    def complete(self, job_id: UUID) -> None:
        if run := self._run_of(job_id):
            with self.engine.begin() as conn:
                answer = self._complete(conn, run)
            job = self.model[job_id]
            if run.stage is Stage.PIXEL:
                assert answer is True
                job.release(State.SUCCEEDED, job.attempt)
                job.winner = run.token
            else:
                job.generated = job.generated or run.stage is Stage.LLM
                job.release(State.PIXEL if job.generated else State.LLM, 0)
                assert answer == job.message(job_id)

    @rule(job_id=job_ids)
    def rewind(self, job_id: UUID) -> None:
        run, job = self._run_of(job_id), self.model[job_id]
        if run is None or run.stage is Stage.VISION:
            return
        with self.engine.begin() as conn:
            answer = jobs.rewind(conn, run, "sam", MAX_REWINDS)
        if job.rewinds == MAX_REWINDS:
            job.release(State.FAILED, job.attempt)
            assert answer is None
        else:
            job.rewinds += 1
            job.release(State.VISION, 0)
            assert answer == job.message(job_id)

    @rule(job_id=job_ids)
    def give_back(self, job_id: UUID) -> None:
        if run := self._run_of(job_id):
            with self.engine.begin() as conn:
                answer = jobs.give_back(conn, run)
            job = self.model[job_id]
            job.release(job.state, job.attempt - 1)
            assert answer == job.message(job_id)

    @rule(job_id=job_ids)
    def retry(self, job_id: UUID) -> None:
        if run := self._run_of(job_id):
            with self.engine.begin() as conn:
                answer = jobs.retry(conn, run, PROBLEM, MAX_ATTEMPTS)
            job = self.model[job_id]
            exhausted = job.attempt == MAX_ATTEMPTS
            job.release(State.FAILED if exhausted else job.state, job.attempt)
            assert answer == (None if exhausted else job.message(job_id))

    @rule(job_id=job_ids)
    def come_back_late(self, job_id: UUID) -> None:
        """Every worker that the job was taken from tries everything there is to try."""
        late = [run for run in self.runs[job_id] if run != self.model[job_id].holder]
        with self.engine.begin() as conn:
            assert jobs.renew(conn, [run.token for run in late], LEASE) == set()
            for run in late:
                assert not self._complete(conn, run)
                assert run.stage is Stage.VISION or jobs.rewind(conn, run, "sam", MAX_REWINDS) is None
                assert jobs.give_back(conn, run) is None
                assert jobs.retry(conn, run, PROBLEM, MAX_ATTEMPTS) is None
                assert not jobs.fail(conn, run, PROBLEM)

    @rule(job_id=job_ids)
    def crash_before_the_commit(self, job_id: UUID) -> None:
        if run := self._run_of(job_id):
            with suppress(Crash), self.engine.begin() as conn:
                assert self._complete(conn, run)
                raise Crash

    @rule()
    def heartbeat(self) -> None:
        """Every run there ever was asks for its lease to be renewed."""
        tokens = [run.token for runs in self.runs.values() for run in runs]
        with self.engine.begin() as conn:
            kept = jobs.renew(conn, tokens, LEASE)
        held = [job for job in self.model.values() if job.holder is not None]
        assert kept == {job.holder.token for job in held if job.holder}
        for job in held:
            job.lease_is_over = False

    @rule(job_id=job_ids)
    def worker_falls_silent(self, job_id: UUID) -> None:
        self._let_time_pass("lease_expires_at = now() - interval '1 s'", "lease_token IS NOT NULL", job_id)
        self.model[job_id].lease_is_over = self.model[job_id].holder is not None

    @rule(job_id=job_ids)
    def message_gets_lost(self, job_id: UUID) -> None:
        self._let_time_pass("sent_at = now() - interval '2 h'", "finished_at IS NULL AND sent_at IS NOT NULL", job_id)
        self.model[job_id].message_is_old = self.model[job_id].state.in_flight

    @rule()
    def sweep(self) -> None:
        self._sweep()

    @rule(job_id=job_ids)
    def deadline_passes(self, job_id: UUID) -> None:
        """Whatever runs goes on until the job is expired, and nothing more is begun."""
        self._let_time_pass("expires_at = now() - interval '1 s'", "finished_at IS NULL", job_id)
        self.model[job_id].is_late = not self.model[job_id].state.finished

    @rule(job_id=job_ids, how=st.sampled_from([jobs.cancel, jobs.expire, jobs.fail]))
    def end_early(self, job_id: UUID, how: Any) -> None:
        """One rule for all three, or most jobs would end before anything has happened to them."""
        if how is jobs.expire:
            self.deadline_passes(job_id)
            self._expire()
            return
        job = self.model[job_id]
        with self.engine.begin() as conn:
            if how is jobs.fail:
                ends = job.holder is not None
                assert job.holder is None or jobs.fail(conn, job.holder, PROBLEM)
            else:
                ends = not job.state.finished
                assert jobs.cancel(conn, job_id) == ends
        if ends:
            job.release(State.CANCELED if how is jobs.cancel else State.FAILED, job.attempt)

    @rule(job_id=job_ids)
    def look(self, job_id: UUID) -> None:
        job = self.model[job_id]
        ahead = [
            other
            for other in self.model.values()
            if other.state is State.QUEUED and (-other.priority, other.order) <= (-job.priority, job.order)
        ]
        with self.engine.begin() as conn:
            view = jobs.get(conn, job_id)
        assert view is not None
        assert view.state is job.state
        assert view.queue_position == (len(ahead) if job.state is State.QUEUED else None)
        assert (view.progress == 1.0) == (view.state is State.SUCCEEDED)
        assert (view.result is not None) == (view.state is State.SUCCEEDED)
        assert (view.error is not None) == (view.state is State.FAILED)

    @invariant()
    def promises_hold(self) -> None:
        """One lease at most, one result and event exactly, attempts and window bounded, final ends, nothing lost."""
        with self.engine.begin() as conn:
            rows = {row.id: row for row in conn.execute(text("SELECT * FROM jobs"))}
            results = [(row.job_id, row.model_fingerprint) for row in conn.execute(text("SELECT * FROM results"))]
            runs = conn.execute(text("SELECT * FROM stage_runs")).all()
            told = conn.execute(text("SELECT payload #>> '{data,id}', event FROM webhook_deliveries")).all()
        assert rows.keys() == self.model.keys()
        running = Counter(run.job_id for run in runs if run.outcome == "running")
        for job_id, job in self.model.items():
            row = rows[job_id]
            assert (row.state, row.attempt, row.rewinds) == (job.state, job.attempt, job.rewinds)
            assert row.lease_token == (job.holder and job.holder.token)
            assert running[job_id] == (job.holder is not None)
            if job.state.finished:
                assert self.final.setdefault(job_id, row) == row
        won = [(job_id, str(job.winner)) for job_id, job in self.model.items() if job.state is State.SUCCEEDED]
        assert sorted(results) == sorted(won)
        ended = [(str(job_id), f"job.{job.state}") for job_id, job in self.model.items() if job.state.finished]
        assert sorted(map(tuple, told)) == sorted(ended)
        starts = Counter((run.job_id, run.stage, run.rewind) for run in runs if run.outcome != "given_back")
        assert max(starts.values(), default=0) <= MAX_ATTEMPTS
        assert max((row.rewinds for row in rows.values()), default=0) <= MAX_REWINDS
        assert sum(State(row.state).in_flight for row in rows.values()) <= WINDOW

    def teardown(self) -> None:
        """Every message in the air is lost and every worker dead: the sweep alone brings each job to its end."""
        self._expire()
        for job_id in self.model:
            self.worker_falls_silent(job_id)
        for _ in range(len(Stage) * len(self.model)):
            for job_id in self.model:
                self.message_gets_lost(job_id)
            for message in self._sweep() + self._admit():
                self.complete(message.job_id)
        self.promises_hold()
        assert all(job.state.finished for job in self.model.values())

    def _create(self, priority: int) -> UUID:
        new = NewJob(self.new_job.image_id, self.new_job.ask, priority=priority)
        with self.engine.begin() as conn:
            job_id = jobs.create(conn, new)
        self.model[job_id] = Expected(priority, order=len(self.model))
        return job_id

    def _admit(self) -> list[Message]:
        with self.engine.begin() as conn:
            messages = jobs.admit(conn, WINDOW)
        room = WINDOW - sum(job.state.in_flight for job in self.model.values())
        queued = [job_id for job_id, job in self.model.items() if job.state is State.QUEUED and not job.is_late]
        queued.sort(key=lambda job_id: (-self.model[job_id].priority, self.model[job_id].order))
        for job_id in queued[:room]:
            self.model[job_id].release(State.VISION, 0)
        assert messages == [self.model[job_id].message(job_id) for job_id in queued[:room]]
        return messages

    def _enter(self, message: Message, worker: str) -> Run | None:
        with self.engine.begin() as conn:
            run = jobs.enter(conn, message, worker, LEASE)
        job = self.model[message.job_id]
        free = job.state.in_flight and job.holder is None and not job.is_late
        assert (run is not None) == (free and message == job.message(message.job_id))
        if run is not None:
            job.attempt += 1
            job.holder = run
            self.runs[run.job_id].append(run)
            assert run.attempt == job.attempt
            assert bool(run.generations) == (run.stage is Stage.PIXEL)
        return run

    def _run_of(self, job_id: UUID) -> Run | None:
        """The run that has the job; when none has, a worker takes it now, unless it is late."""
        job = self.model[job_id]
        if job.holder is None and job.state.in_flight:
            assert (self._enter(job.message(job_id), "next") is None) == job.is_late
        return job.holder

    def _complete(self, conn: Connection, run: Run) -> Message | bool | None:
        if run.stage is Stage.VISION:
            return jobs.complete_vision(conn, run, Timing())
        if run.stage is Stage.LLM:
            return jobs.complete_llm(conn, run, self.generations, Timing())
        return jobs.complete_pixel(conn, run, jobs.Result((jobs.Answer("text", "raw"),), str(run.token)), Timing())

    def _sweep(self) -> list[Message]:
        with self.engine.begin() as conn:
            swept = jobs.sweep(conn, RESEND_AFTER, MAX_ATTEMPTS)
        resend, failed = set(), set()
        for job_id, job in self.model.items():
            if job.lease_is_over or (job.holder is None and job.message_is_old):
                exhausted = job.attempt == MAX_ATTEMPTS
                job.release(State.FAILED if exhausted else job.state, job.attempt)
                if exhausted:
                    failed.add(job_id)
                else:
                    resend.add(job.message(job_id))
        assert len(swept.resend) == len(resend)
        assert set(swept.resend) == resend
        assert sorted(swept.failed) == sorted(failed)
        return swept.resend

    def _expire(self) -> None:
        late = {job_id for job_id, job in self.model.items() if job.is_late and not job.state.finished}
        with self.engine.begin() as conn:
            assert set(jobs.expire(conn)) == late
        for job_id in late:
            self.model[job_id].release(State.FAILED, self.model[job_id].attempt)

    def _let_time_pass(self, change: str, where: str, job_id: UUID) -> None:
        with self.engine.begin() as conn:
            conn.execute(text(f"UPDATE jobs SET {change} WHERE {where} AND id = :id"), {"id": job_id})


def test_promises_hold_under_events_in_any_order(
    engine: Engine, new_job: NewJob, generations: list[jobs.Generation]
) -> None:
    class Life(JobLife):
        pass

    # Thousands of small transactions: whether they outlive a power cut is not the question here.
    quick = create_engine(engine.url, connect_args={"options": "-c synchronous_commit=off"}, pool_reset_on_return=None)
    Life.engine, Life.new_job, Life.generations = quick, new_job, generations
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
    quick.dispose()
