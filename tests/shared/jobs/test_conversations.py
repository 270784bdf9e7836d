"""Turns of a conversation: one after another, each with what was said before, and none on an image that is gone."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from shared import jobs
from shared.errors import Conflict, NotFound
from shared.jobs import Generation, NewJob, PastTurn, Run, Stage, State, Timing
from shared.tasks import Ask, Task
from tests.shared.jobs.conftest import IMAGE

LEASE = timedelta(hours=1)
REGIONS = Ask(Task.REGION_CAPTION, boxes=((1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0)))
QUESTION = Ask(Task.VQA, "Why?")


@pytest.fixture
def conversation(engine: Engine) -> UUID:
    with engine.begin() as conn:
        return jobs.begin(conn, IMAGE)


def add(engine: Engine, conversation: UUID, ask: Ask = QUESTION) -> UUID:
    with engine.begin() as conn:
        return jobs.add_turn(conn, conversation, NewJob(IMAGE, ask))


def enter(engine: Engine, job_id: UUID, stage: Stage = Stage.VISION) -> Run:
    with engine.begin() as conn:
        jobs.admit(conn, 100)
        run = jobs.enter(conn, jobs.Message(job_id, stage, 0, urgent=True), "w", LEASE)
    assert run is not None
    return run


def succeed(engine: Engine, job_id: UUID, *said: str) -> None:
    vision = enter(engine, job_id)
    with engine.begin() as conn:
        jobs.complete_vision(conn, vision, Timing())
    llm = enter(engine, job_id, Stage.LLM)
    with engine.begin() as conn:
        jobs.complete_llm(conn, llm, [Generation(text, (1,), b"", 0, 0) for text in said], Timing())
    pixel = enter(engine, job_id, Stage.PIXEL)
    with engine.begin() as conn:
        answers = tuple(jobs.Answer(text.lower(), text) for text in said)
        assert jobs.complete_pixel(conn, pixel, jobs.Result(answers, "f"), Timing())


def test_a_turn_sees_what_was_said_before_as_the_model_wrote_it(engine: Engine, conversation: UUID) -> None:
    first = add(engine, conversation, REGIONS)
    assert enter(engine, first).history == ()
    with engine.begin() as conn:
        jobs.cancel(conn, first)
    second = add(engine, conversation, REGIONS)
    succeed(engine, second, "One.", "Two.")
    third = add(engine, conversation)
    succeed(engine, third, "Because.")
    run = enter(engine, add(engine, conversation))
    # The canceled turn said nothing, and so was never there.
    assert run.history == (PastTurn(REGIONS, ("One.", "Two.")), PastTurn(QUESTION, ("Because.",)))
    assert run.in_conversation
    with engine.begin() as conn:
        view = jobs.get_conversation(conn, conversation)
        turns = [jobs.get(conn, job_id) for job_id in view.turns] if view else []
    assert view is not None
    assert view.turns == (first, second, third, run.job_id)
    assert [(turn.turn, turn.conversation_id) for turn in turns if turn] == [(n, conversation) for n in (1, 2, 3, 4)]


def test_a_job_of_its_own_is_in_no_conversation(engine: Engine, conversation: UUID, new_job: NewJob) -> None:
    succeed(engine, add(engine, conversation), "Yes.")
    with engine.begin() as conn:
        job_id = jobs.create(conn, new_job)
    run = enter(engine, job_id)
    assert (run.history, run.in_conversation) == ((), False)


def test_the_next_turn_waits_for_the_end_of_this_one(engine: Engine, conversation: UUID) -> None:
    first = add(engine, conversation)
    with pytest.raises(Conflict, match="not finished") as refused:
        add(engine, conversation)
    assert str(first) in str(refused.value.remedy)
    succeed(engine, first, "Yes.")
    assert add(engine, conversation) != first


def test_of_turns_sent_at_once_one_is_taken(engine: Engine, conversation: UUID) -> None:
    def attempt(_: int) -> bool:
        try:
            add(engine, conversation)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_a_deleted_image_has_no_more_turns_but_keeps_those_there_are(engine: Engine, conversation: UUID) -> None:
    done = add(engine, conversation)
    succeed(engine, done, "Yes.")
    waiting = add(engine, conversation)
    with engine.begin() as conn:
        assert jobs.withdraw_image(conn, IMAGE) == f"images/ab/{IMAGE}"
        assert jobs.withdraw_image(conn, IMAGE) == f"images/ab/{IMAGE}"
        assert jobs.withdraw_image(conn, "0" * 64) is None
    with engine.begin() as conn:
        views = [jobs.get(conn, job_id) for job_id in (done, waiting)]
        view = jobs.get_conversation(conn, conversation)
    assert [view.state for view in views if view] == [State.SUCCEEDED, State.CANCELED]
    assert view is not None
    assert view.image.deleted
    with pytest.raises(Conflict, match="was deleted"):
        add(engine, conversation)
    with engine.begin() as conn, pytest.raises(NotFound):
        jobs.begin(conn, IMAGE)
    with engine.begin() as conn, pytest.raises(NotFound):
        jobs.create(conn, NewJob(IMAGE, QUESTION))


def test_an_unknown_conversation_is_nobodys(engine: Engine) -> None:
    with pytest.raises(NotFound, match="conversation"):
        add(engine, uuid4())
    with engine.begin() as conn:
        assert jobs.get_conversation(conn, uuid4()) is None
