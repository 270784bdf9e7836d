"""Stories of single jobs: the straight way, and what a worker's fate does to it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from shared import jobs
from shared.errors import NotFound, Problem, Unavailable
from shared.jobs import Message, NewJob, Outcome, Run, Stage, State, Timing
from shared.priority import Priority
from shared.tasks import Ask, Task

LEASE = timedelta(hours=1)
LONG = timedelta(hours=1)

Start = Callable[..., Run]
PROBLEM = Problem("urn:glamm:problem:invalid-input", "Invalid input", 422, "The image is broken.", "image", "Send one.")


def view(engine: Engine, run_or_id: object) -> jobs.JobView:
    job_id = run_or_id.job_id if isinstance(run_or_id, Run) else run_or_id
    with engine.begin() as conn:
        found = jobs.get(conn, job_id)
    assert found is not None
    return found


def set_deadline(conn: Connection, *job_ids: UUID, seconds: int) -> None:
    """So long from now."""
    conn.execute(
        text("UPDATE jobs SET expires_at = now() + make_interval(secs => :seconds) WHERE id = ANY(:jobs)"),
        {"seconds": seconds, "jobs": list(job_ids)},
    )


def test_a_job_goes_through_every_stage_and_keeps_its_result(
    engine: Engine, new_job: NewJob, generations: list[jobs.Generation], result: jobs.Result
) -> None:
    with engine.begin() as conn:
        job_id = jobs.create(conn, new_job)
    queued = view(engine, job_id)
    assert (queued.state, queued.queue_position, queued.progress, queued.stages) == (State.QUEUED, 1, 0.0, ())

    with engine.begin() as conn:
        messages = jobs.admit(conn, window=5)
    assert messages == [Message(job_id, Stage.VISION, 0, urgent=True)]

    with engine.begin() as conn:
        vision = jobs.enter(conn, messages[0], "v:1", LEASE)
    assert vision is not None
    assert (vision.ask.prompt, vision.stored.width, vision.stored.height, vision.attempt) == (
        "Describe the image.",
        40,
        30,
        1,
    )
    assert vision.generations == ()
    with engine.begin() as conn:
        to_llm = jobs.complete_vision(conn, vision, Timing(1.5, 0.5, 20.0, 2.0, cached=True))
    assert to_llm == Message(job_id, Stage.LLM, 0, urgent=True)

    with engine.begin() as conn:
        llm = jobs.enter(conn, to_llm, "l:1", LEASE)
    assert llm is not None
    with engine.begin() as conn:
        to_pixel = jobs.complete_llm(conn, llm, generations, Timing())
    assert to_pixel == Message(job_id, Stage.PIXEL, 0, urgent=True)

    with engine.begin() as conn:
        pixel = jobs.enter(conn, to_pixel, "p:1", LEASE)
    assert pixel is not None
    assert pixel.generations == tuple(generations)
    assert view(engine, job_id).progress == pytest.approx(2 / 3)
    with engine.begin() as conn:
        assert jobs.complete_pixel(conn, pixel, result, Timing())

    done = view(engine, job_id)
    assert (done.state, done.progress, done.result, done.error) == (State.SUCCEEDED, 1.0, result, None)
    assert done.finished_at is not None
    assert done.finished_at >= done.created_at
    assert [(run.stage, run.attempt, run.worker, run.outcome) for run in done.stages] == [
        (Stage.VISION, 1, "v:1", Outcome.COMPLETED),
        (Stage.LLM, 1, "l:1", Outcome.COMPLETED),
        (Stage.PIXEL, 1, "p:1", Outcome.COMPLETED),
    ]
    assert done.stages[0].timing == Timing(1.5, 0.5, 20.0, 2.0, cached=True)
    assert done.stages[0].cached
    assert all(run.waited_ms >= 0 and run.total_ms is not None and run.total_ms >= 0 for run in done.stages)
    ended = [run.finished_at for run in done.stages]
    assert ended == [*(run.ready_at for run in done.stages[1:]), done.finished_at]


ENDS: dict[str, Callable[[Connection, Run], object]] = {
    "failed": lambda conn, run: jobs.fail(conn, run, PROBLEM),
    "failed for good": lambda conn, run: jobs.retry(conn, run, PROBLEM, max_attempts=1),
    "rewound too often": lambda conn, run: jobs.rewind(conn, run, "sam", max_rewinds=0),
    "canceled": lambda conn, run: jobs.cancel(conn, run.job_id),
    "lost": lambda conn, run: jobs.sweep(conn, LONG, max_attempts=1),
    "expired": lambda conn, run: jobs.expire(conn),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_job_and_its_last_run_end_at_one_instant(
    engine: Engine, start: Start, let_lease_run_out: Callable[[Run], None], end: str
) -> None:
    run = start(Stage.LLM)
    with engine.begin() as conn:
        conn.execute(text("UPDATE jobs SET expires_at = statement_timestamp()"))
    let_lease_run_out(run)
    with engine.begin() as conn:
        assert ENDS[end](conn, run) is not False
    ended = view(engine, run)
    assert ended.finished_at is not None
    assert ended.stages[-1].finished_at == ended.finished_at


def test_timings_are_kept_to_the_microsecond(engine: Engine, start: Start) -> None:
    run = start(Stage.VISION)
    with engine.begin() as conn:
        jobs.complete_vision(conn, run, Timing(20.27894100001504, 0.1 + 0.2, 1 / 3, 2e-9))
    assert view(engine, run).stages[0].timing == Timing(20.279, 0.3, 0.333, 0.0)


def test_boxes_and_missing_prompts_come_back_as_they_went_in(engine: Engine, new_job: NewJob) -> None:
    ask = Ask(Task.REGION_CAPTION, boxes=((0.1, 2.0, 30.25, 29.999),))
    with engine.begin() as conn:
        job_id = jobs.create(conn, NewJob(new_job.image_id, ask))
        run = jobs.enter(conn, jobs.admit(conn, 1)[0], "w", LEASE)
    assert run is not None
    assert run.ask == ask
    assert view(engine, job_id).ask == ask


def test_a_job_needs_an_image_that_exists(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn, pytest.raises(NotFound, match="no image") as raised:
        jobs.create(conn, NewJob("0" * 64, Ask(Task.GCG)))
    assert raised.value.status == 404


def test_an_unknown_job_is_nobodys(engine: Engine) -> None:
    with engine.begin() as conn:
        assert jobs.get(conn, uuid4()) is None
        assert not jobs.cancel(conn, uuid4())
        assert jobs.enter(conn, Message(uuid4(), Stage.VISION, 0, urgent=True), "w", LEASE) is None


def test_null_characters_the_model_wrote_can_be_stored(
    engine: Engine, start: Start, generations: list[jobs.Generation]
) -> None:
    run = start(Stage.PIXEL)
    with engine.begin() as conn:
        assert jobs.complete_pixel(conn, run, jobs.Result((jobs.Answer("a\0b", "a\0b"),), "f"), Timing())
    stored = view(engine, run).result
    assert stored is not None
    assert stored.text == "a\N{REPLACEMENT CHARACTER}b"


def test_the_same_message_twice_starts_one_run(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        jobs.create(conn, new_job)
        [message] = jobs.admit(conn, 1)
        assert jobs.enter(conn, message, "w", LEASE) is not None
        assert jobs.enter(conn, message, "w", LEASE) is None


@pytest.mark.parametrize("stage", list(Stage))
def test_a_job_survives_its_worker(
    engine: Engine, start: Start, let_lease_run_out: Callable[[Run], None], stage: Stage
) -> None:
    lost = start(stage)
    let_lease_run_out(lost)
    with engine.begin() as conn:
        swept = jobs.sweep(conn, LONG, max_attempts=3)
    assert swept == jobs.Swept([Message(lost.job_id, stage, 1, urgent=True)], [])
    with engine.begin() as conn:
        again = jobs.enter(conn, swept.resend[0], "second", LEASE)
    assert again is not None
    assert again.attempt == 2
    assert [run.outcome for run in view(engine, lost).stages][-2:] == [Outcome.LOST, Outcome.RUNNING]


def test_a_worker_that_comes_back_after_its_job_was_taken_changes_nothing(
    engine: Engine,
    start: Start,
    let_lease_run_out: Callable[[Run], None],
    generations: list[jobs.Generation],
) -> None:
    late = start(Stage.LLM)
    let_lease_run_out(late)
    with engine.begin() as conn:
        [message] = jobs.sweep(conn, LONG, max_attempts=3).resend
        current = jobs.enter(conn, message, "second", LEASE)
    assert current is not None
    with engine.begin() as conn:
        assert jobs.renew(conn, [late.token, current.token], LEASE) == {current.token}
        assert jobs.complete_llm(conn, late, generations, Timing()) is None
        assert jobs.rewind(conn, late, "global", 5) is None
        assert jobs.give_back(conn, late) is None
        assert jobs.retry(conn, late, PROBLEM, 3) is None
        assert not jobs.fail(conn, late, PROBLEM)
        assert jobs.complete_llm(conn, current, generations, Timing()) is not None


def test_late_work_that_nobody_repeated_counts(
    engine: Engine, start: Start, let_lease_run_out: Callable[[Run], None]
) -> None:
    run = start(Stage.VISION)
    let_lease_run_out(run)
    with engine.begin() as conn:
        assert jobs.complete_vision(conn, run, Timing()) == Message(run.job_id, Stage.LLM, 0, urgent=True)


def test_a_job_that_kills_its_workers_fails_with_the_reason_and_the_rest_go_on(
    engine: Engine, start: Start, let_lease_run_out: Callable[[Run], None]
) -> None:
    bystander = start(Stage.VISION)
    run = start(Stage.PIXEL)
    for attempt in (1, 2, 3):
        assert run.attempt == attempt
        let_lease_run_out(run)
        with engine.begin() as conn:
            swept = jobs.sweep(conn, LONG, max_attempts=3)
            if attempt < 3:
                following = jobs.enter(conn, swept.resend[0], f"w{attempt}", LEASE)
                assert following is not None
                run = following
    assert swept == jobs.Swept([], [run.job_id])
    failed = view(engine, run)
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert failed.error.problem.type == "urn:glamm:problem:worker-lost"
    assert (failed.error.stage, failed.error.attempt) == (Stage.PIXEL, 3)
    assert view(engine, bystander).state is State.VISION


def test_a_lost_message_is_sent_again_but_a_fresh_one_is_not(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        jobs.create(conn, new_job)
        [message] = jobs.admit(conn, 1)
    with engine.begin() as conn:
        assert jobs.sweep(conn, LONG, 3) == jobs.Swept([], [])
    with engine.begin() as conn:
        assert jobs.sweep(conn, timedelta(0), 3) == jobs.Swept([message], [])


def test_giving_back_costs_no_attempt(engine: Engine, start: Start) -> None:
    run = start(Stage.VISION)
    for _ in range(5):
        with engine.begin() as conn:
            message = jobs.give_back(conn, run)
            assert message == Message(run.job_id, Stage.VISION, 0, urgent=True)
            again = jobs.enter(conn, message, "next", LEASE)
        assert again is not None
        assert again.attempt == 1
        run = again


def test_a_passing_problem_is_retried_until_the_attempts_are_used_up(engine: Engine, start: Start) -> None:
    run = start(Stage.VISION)
    problem = Unavailable("object store").to_problem()
    with engine.begin() as conn:
        message = jobs.retry(conn, run, problem, max_attempts=2)
        assert message == Message(run.job_id, Stage.VISION, 1, urgent=True)
        again = jobs.enter(conn, message, "next", LEASE)
        assert again is not None
        assert jobs.retry(conn, again, problem, max_attempts=2) is None
    failed = view(engine, run)
    assert failed.error == jobs.Failure(problem, Stage.VISION, 2)
    assert [entry.error for entry in failed.stages] == [problem, problem]


def test_a_lasting_problem_fails_the_job_at_once(engine: Engine, start: Start) -> None:
    run = start(Stage.LLM)
    with engine.begin() as conn:
        assert jobs.fail(conn, run, PROBLEM)
        assert not jobs.fail(conn, run, PROBLEM)
    failed = view(engine, run)
    assert failed.state is State.FAILED
    assert failed.error == jobs.Failure(PROBLEM, Stage.LLM, 1)


def test_lost_features_send_the_job_back_to_vision_and_past_a_generation_that_is_there(
    engine: Engine, start: Start
) -> None:
    pixel = start(Stage.PIXEL)
    with engine.begin() as conn:
        message = jobs.rewind(conn, pixel, "sam", max_rewinds=5)
        assert message == Message(pixel.job_id, Stage.VISION, 0, urgent=True)
        vision = jobs.enter(conn, message, "w", LEASE)
        assert vision is not None
        onward = jobs.complete_vision(conn, vision, Timing())
    assert onward == Message(pixel.job_id, Stage.PIXEL, 0, urgent=True)
    assert [run.rewind for run in view(engine, pixel).stages] == [0, 0, 0, 1]


def test_features_that_are_lost_too_often_fail_the_job_with_a_remedy(engine: Engine, start: Start) -> None:
    run = start(Stage.LLM)
    with engine.begin() as conn:
        assert jobs.rewind(conn, run, "global", max_rewinds=0) is None
    failed = view(engine, run)
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert "global" in failed.error.problem.detail
    assert failed.error.problem.remedy is not None
    assert failed.error.problem.remedy.startswith("Enlarge the features store")


def test_canceling_takes_the_job_from_its_worker_for_good(engine: Engine, start: Start) -> None:
    run = start(Stage.VISION)
    with engine.begin() as conn:
        assert jobs.cancel(conn, run.job_id)
        assert not jobs.cancel(conn, run.job_id)
        assert jobs.renew(conn, [run.token], LEASE) == set()
        assert jobs.complete_vision(conn, run, Timing()) is None
    canceled = view(engine, run)
    assert (canceled.state, canceled.error) == (State.CANCELED, None)
    assert [entry.outcome for entry in canceled.stages] == [Outcome.CANCELED]


def test_a_job_past_its_time_fails_wherever_it_stands(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        running, waiting = jobs.create(conn, new_job), jobs.create(conn, new_job)
        [message] = jobs.admit(conn, 1)
        run = jobs.enter(conn, message, "w", LEASE)
        set_deadline(conn, running, waiting, seconds=-1)
        patient = jobs.create(conn, new_job)
    assert run is not None
    with engine.begin() as conn:
        assert set(jobs.expire(conn)) == {running, waiting}
        assert jobs.expire(conn) == []
        assert jobs.complete_vision(conn, run, Timing()) is None
    errors = [view(engine, job_id).error for job_id in (running, waiting)]
    assert [error and error.problem.type for error in errors] == ["urn:glamm:problem:expired"] * 2
    assert [error and error.stage for error in errors] == [Stage.VISION, None]
    assert view(engine, patient).state is State.QUEUED


def test_nothing_is_begun_for_a_job_that_is_past_its_time(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        late, patient = jobs.create(conn, new_job), jobs.create(conn, new_job)
        set_deadline(conn, late, seconds=-1)
        # It takes no place from who is in time.
        [message] = jobs.admit(conn, 1)
        assert message.job_id == patient
        assert jobs.admit(conn, 2) == []
        run = jobs.enter(conn, message, "w", LEASE)
        assert run is not None
        set_deadline(conn, patient, seconds=-1)
        handed_on = jobs.complete_vision(conn, run, Timing())
        assert handed_on is not None
        assert jobs.enter(conn, handed_on, "w", LEASE) is None
        set_deadline(conn, patient, seconds=3600)
        assert jobs.enter(conn, handed_on, "w", LEASE) is not None


def test_a_job_of_no_time_is_never_begun(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        hasty = jobs.create(conn, replace(new_job, ttl=timedelta(seconds=1e-9)))
        assert jobs.admit(conn, 1) == []
        assert jobs.expire(conn) == [hasty]
    error = view(engine, hasty).error
    assert error is not None
    assert (error.problem.type, error.stage) == ("urn:glamm:problem:expired", None)


def test_admission_takes_priority_first_then_age_and_no_more_than_the_window(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        low = [jobs.create(conn, new_job) for _ in range(2)]
        high = [
            jobs.create(conn, NewJob(new_job.image_id, new_job.ask, priority=Priority.INTERACTIVE.rank + 5))
            for _ in range(2)
        ]
    assert [view(engine, job_id).queue_position for job_id in (*high, *low)] == [1, 2, 3, 4]
    with engine.begin() as conn:
        assert [message.job_id for message in jobs.admit(conn, 3)] == [*high, low[0]]
        assert jobs.admit(conn, 3) == []
        assert jobs.admit(conn, 1) == []
        jobs.cancel(conn, high[0])
        assert [message.job_id for message in jobs.admit(conn, 3)] == [low[1]]


def test_a_run_cannot_complete_a_stage_it_is_not_in(
    engine: Engine, start: Start, generations: list[jobs.Generation], result: jobs.Result
) -> None:
    run = start(Stage.VISION)
    with engine.begin() as conn:
        with pytest.raises(ValueError, match="vision"):
            jobs.complete_llm(conn, run, generations, Timing())
        with pytest.raises(ValueError, match="vision"):
            jobs.complete_pixel(conn, run, result, Timing())
        with pytest.raises(ValueError, match="vision"):
            jobs.rewind(conn, run, "global", 5)
        assert jobs.renew(conn, [], LEASE) == set()


def test_more_jobs_are_cancelled_at_once_than_a_statement_has_parameters(engine: Engine, new_job: NewJob) -> None:
    with engine.begin() as conn:
        job_id = jobs.create(conn, new_job)
        conn.execute(
            text(
                """
                INSERT INTO jobs (id, image_id, task, expires_at, owner_id)
                SELECT gen_random_uuid(), image_id, task, expires_at, owner_id
                FROM jobs CROSS JOIN generate_series(1, 70000) WHERE id = :id
                """
            ),
            {"id": job_id},
        )
        jobs.withdraw_image(conn, new_job.image_id)
        assert conn.execute(text("SELECT count(*) FROM jobs WHERE state = 'canceled'")).scalar_one() == 70_001
