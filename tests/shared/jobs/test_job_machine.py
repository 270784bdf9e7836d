"""The life cycle under events in any order: doubled, late and stale messages, workers that return, crashes, sweeps.

Hypothesis drives the real state machine in a real Postgres next to a model of it in a few lines of Python, which
says what each event must answer. After every event the rows are read back and held against the model and the
promises of the service. At the end everything that is in the air is lost, and each job must still come to an end.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

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

LEASE = timedelta(hours=1)
RESEND_AFTER = timedelta(hours=1)
WINDOW = 3
MAX_ATTEMPTS = 3
MAX_REWINDS = 2
PROBLEM = Unavailable("object store").to_problem()


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
    generated: bool = False
    winner: UUID | None = None

    def release(self, state: State, attempt: int) -> None:
        self.state, self.attempt = state, attempt
        self.holder, self.lease_is_over, self.message_is_old = None, False, False

    def message(self, job_id: UUID) -> Message:
        return Message(job_id, Stage(self.state), self.attempt)


class Crash(Exception):  # noqa: N818
    """The process dies before its transaction is committed."""


class JobLife(RuleBasedStateMachine):
    engine: Engine
    new_job: NewJob
    generation: jobs.Generation

    job_ids = Bundle("job_ids")
    messages = Bundle("messages")
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[UUID, Expected] = {}
        self.final: dict[UUID, Any] = {}
        with self.engine.begin() as conn:
            conn.execute(text("DELETE FROM jobs"))

    @initialize(target=job_ids, priorities=st.lists(st.integers(0, 2), min_size=1, max_size=5))
    def begin(self, priorities: list[int]) -> Any:
        return multiple(*(self._create(priority) for priority in priorities))

    @rule(target=job_ids, priority=st.integers(0, 2))
    def submit(self, priority: int) -> UUID:
        return self._create(priority)

    @rule(target=messages)
    def admit(self) -> Any:
        return multiple(*self._admit())

    @rule(target=runs, message=messages, worker=st.sampled_from(["a", "b"]))
    def deliver(self, message: Message, worker: str) -> Any:
        """Any message that was ever sent arrives, for the first time or again."""
        run = self._enter(message, worker)
        return multiple() if run is None else run

    @rule(target=runs, job_id=job_ids)
    def deliver_the_newest(self, job_id: UUID) -> Any:
        job = self.model[job_id]
        run = self._enter(job.message(job_id), "c") if job.state.in_flight else None
        return multiple() if run is None else run

    @rule(target=messages, run=runs)
    def complete(self, run: Run) -> Any:
        """Any run that ever started finishes its work, the job being its own still or not."""
        with self.engine.begin() as conn:
            answer = self._complete(conn, run)
        return self._expect_completed(run, answer)

    @rule(target=messages, job_id=job_ids)
    def work_on(self, job_id: UUID) -> Any:
        """The worker that has the job, or takes it now, completes its stage."""
        job = self.model[job_id]
        if not job.state.in_flight:
            return multiple()
        run = job.holder or self._enter(job.message(job_id), "d")
        assert run is not None
        return self.complete(run)

    @rule(target=runs, run=runs)
    def replace_the_worker(self, run: Run) -> Any:
        """The lease runs out and the job is with another worker when the first comes back."""
        if self._job_of(run) is None:
            return multiple()
        self.worker_falls_silent(run.job_id)
        self._sweep()
        return self.deliver_the_newest(run.job_id)

    @rule(run=runs)
    def come_back_late(self, run: Run) -> None:
        """A worker whose job was taken from it tries everything there is to try."""
        if self._job_of(run) is not None:
            return
        with self.engine.begin() as conn:
            assert jobs.renew(conn, [run.token], LEASE) == set()
            assert not self._complete(conn, run)
            assert run.stage is Stage.VISION or jobs.rewind(conn, run, "sam", MAX_REWINDS) is None
            assert jobs.give_back(conn, run) is None
            assert jobs.retry(conn, run, PROBLEM, MAX_ATTEMPTS) is None
            assert not jobs.fail(conn, run, PROBLEM)

    @rule(run=runs)
    def crash_before_the_commit(self, run: Run) -> None:
        try:
            with self.engine.begin() as conn:
                self._complete(conn, run)
                raise Crash
        except Crash:
            pass

    @rule(target=messages, run=runs)
    def rewind(self, run: Run) -> Any:
        if run.stage is Stage.VISION:
            return multiple()
        with self.engine.begin() as conn:
            answer = jobs.rewind(conn, run, "sam", MAX_REWINDS)
        job = self._job_of(run)
        if job is None:
            return self._nothing(answer)
        if job.rewinds == MAX_REWINDS:
            job.release(State.FAILED, job.attempt)
            return self._nothing(answer)
        job.rewinds += 1
        job.release(State.VISION, 0)
        return self._message(answer, run.job_id)

    @rule(target=messages, run=runs)
    def give_back(self, run: Run) -> Any:
        with self.engine.begin() as conn:
            answer = jobs.give_back(conn, run)
        job = self._job_of(run)
        if job is None:
            return self._nothing(answer)
        job.release(job.state, job.attempt - 1)
        return self._message(answer, run.job_id)

    @rule(target=messages, run=runs)
    def retry(self, run: Run) -> Any:
        with self.engine.begin() as conn:
            answer = jobs.retry(conn, run, PROBLEM, MAX_ATTEMPTS)
        job = self._job_of(run)
        if job is None:
            return self._nothing(answer)
        if job.attempt == MAX_ATTEMPTS:
            job.release(State.FAILED, job.attempt)
            return self._nothing(answer)
        job.release(job.state, job.attempt)
        return self._message(answer, run.job_id)

    @rule(chosen=st.lists(runs, max_size=4))
    def renew(self, chosen: list[Run]) -> None:
        with self.engine.begin() as conn:
            kept = jobs.renew(conn, [run.token for run in chosen], LEASE)
        held = [run for run in chosen if self._job_of(run) is not None]
        assert kept == {run.token for run in held}
        for run in held:
            self.model[run.job_id].lease_is_over = False

    @rule(job_id=job_ids)
    def worker_falls_silent(self, job_id: UUID) -> None:
        self._let_time_pass("lease_expires_at = now() - interval '1 s'", "lease_token IS NOT NULL", job_id)
        self.model[job_id].lease_is_over = self.model[job_id].holder is not None

    @rule(job_id=job_ids)
    def message_gets_lost(self, job_id: UUID) -> None:
        self._let_time_pass("sent_at = now() - interval '2 h'", "finished_at IS NULL AND sent_at IS NOT NULL", job_id)
        self.model[job_id].message_is_old = self.model[job_id].state.in_flight

    @rule(target=messages)
    def sweep(self) -> Any:
        return multiple(*self._sweep())

    @rule(job_id=job_ids, how=st.sampled_from([jobs.cancel, jobs.expire, jobs.fail]))
    def end_early(self, job_id: UUID, how: Any) -> None:
        """One rule for all three, or most jobs would end before anything has happened to them."""
        job = self.model[job_id]
        ends = not job.state.finished
        if how is jobs.expire:
            self._let_time_pass("expires_at = now() - interval '1 s'", "finished_at IS NULL", job_id)
        with self.engine.begin() as conn:
            if how is jobs.fail:
                if job.holder is None:
                    return
                assert jobs.fail(conn, job.holder, PROBLEM)
            elif how is jobs.expire:
                assert jobs.expire(conn) == ends
            else:
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
        """One lease at most, one result exactly, bounded attempts, a bounded window, final ends, nothing lost."""
        with self.engine.begin() as conn:
            rows = {row.id: row for row in conn.execute(text("SELECT * FROM jobs"))}
            results = [(row.job_id, row.model_fingerprint) for row in conn.execute(text("SELECT * FROM results"))]
            runs = conn.execute(text("SELECT * FROM stage_runs")).all()
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
        starts = Counter((run.job_id, run.stage, run.rewind) for run in runs if run.outcome != "given_back")
        assert max(starts.values(), default=0) <= MAX_ATTEMPTS
        assert max((row.rewinds for row in rows.values()), default=0) <= MAX_REWINDS
        assert sum(State(row.state).in_flight for row in rows.values()) <= WINDOW

    def teardown(self) -> None:
        """Every message in the air is lost and every worker dead: the sweep alone brings each job to its end."""
        for job_id in self.model:
            self.worker_falls_silent(job_id)
            self.message_gets_lost(job_id)
        waiting = self._sweep() + self._admit()
        for _ in range(len(Stage) * len(self.model) + 1):
            for message in waiting:
                run = self._enter(message, "last")
                assert run is not None
                self.complete(run)
            for job_id in self.model:
                self.message_gets_lost(job_id)
            waiting = self._sweep() + self._admit()
        self.promises_hold()
        assert all(job.state.finished for job in self.model.values())

    def _create(self, priority: int) -> UUID:
        new = NewJob(self.new_job.image_id, self.new_job.task, self.new_job.prompt, priority=priority)
        with self.engine.begin() as conn:
            job_id = jobs.create(conn, new)
        self.model[job_id] = Expected(priority, order=len(self.model))
        return job_id

    def _admit(self) -> list[Message]:
        with self.engine.begin() as conn:
            messages = jobs.admit(conn, WINDOW)
        room = WINDOW - sum(job.state.in_flight for job in self.model.values())
        queued = [job_id for job_id, job in self.model.items() if job.state is State.QUEUED]
        queued.sort(key=lambda job_id: (-self.model[job_id].priority, self.model[job_id].order))
        for job_id in queued[:room]:
            self.model[job_id].release(State.VISION, 0)
        assert messages == [Message(job_id, Stage.VISION, 0) for job_id in queued[:room]]
        return messages

    def _enter(self, message: Message, worker: str) -> Run | None:
        with self.engine.begin() as conn:
            run = jobs.enter(conn, message, worker, LEASE)
        job = self.model[message.job_id]
        free = job.state.in_flight and job.holder is None
        assert (run is not None) == (free and message == job.message(message.job_id))
        if run is not None:
            job.attempt += 1
            job.holder = run
            assert run.attempt == job.attempt
            assert (run.generation is not None) == (run.stage is Stage.PIXEL)
        return run

    def _complete(self, conn: Connection, run: Run) -> Message | bool | None:
        if run.stage is Stage.VISION:
            return jobs.complete_vision(conn, run, Timing())
        if run.stage is Stage.LLM:
            return jobs.complete_llm(conn, run, self.generation, Timing())
        return jobs.complete_pixel(conn, run, jobs.Result("text", "raw", (), str(run.token)), Timing())

    def _expect_completed(self, run: Run, answer: Message | bool | None) -> Any:
        job = self._job_of(run)
        if job is None:
            return self._nothing(answer)
        if run.stage is Stage.PIXEL:
            assert answer is True
            job.release(State.SUCCEEDED, job.attempt)
            job.winner = run.token
            return multiple()
        job.release(State.PIXEL if job.generated or run.stage is Stage.LLM else State.LLM, 0)
        job.generated = job.generated or run.stage is Stage.LLM
        return self._message(answer, run.job_id)

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

    def _let_time_pass(self, change: str, where: str, job_id: UUID) -> None:
        with self.engine.begin() as conn:
            conn.execute(text(f"UPDATE jobs SET {change} WHERE {where} AND id = :id"), {"id": job_id})

    def _job_of(self, run: Run) -> Expected | None:
        """The run's job in the model, if it is the run's still."""
        job = self.model[run.job_id]
        return job if job.holder is not None and job.holder.token == run.token else None

    def _message(self, answer: Message | bool | None, job_id: UUID) -> Message:
        assert answer == self.model[job_id].message(job_id)
        assert isinstance(answer, Message)
        return answer

    @staticmethod
    def _nothing(answer: Message | bool | None) -> Any:
        assert not answer
        return multiple()


def test_promises_hold_under_events_in_any_order(engine: Engine, new_job: NewJob, generation: jobs.Generation) -> None:
    class Life(JobLife):
        pass

    # Thousands of small transactions: whether they outlive a power cut is not the question here.
    quick = create_engine(engine.url, connect_args={"options": "-c synchronous_commit=off"})
    Life.engine, Life.new_job, Life.generation = quick, new_job, generation
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
    quick.dispose()
