"""The moves of a worker: take a job's stage, keep it, and hand it on, back or over."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, case, exists, insert, null, select, update

from shared.errors import FeaturesLost, Problem
from shared.jobs.conversations import history
from shared.jobs.records import Generation, Message, Phrase, Result, Run, RunImage, Timing
from shared.jobs.statements import (
    MESSAGE,
    RELEASED,
    announced,
    close_run,
    failure,
    finish,
    held,
    in_time,
    message_of,
    now,
)
from shared.priority import is_urgent
from shared.states import Outcome, Stage, State
from shared.tables import answers, generations, images, jobs, phrases, results, stage_runs
from shared.tasks import Ask
from shared.webhooks import outbox


def enter(conn: Connection, message: Message, worker: str, lease: timedelta) -> Run | None:
    """Take the job that the message names, and count the start; None when there is nothing to do.

    That is so when the job has left the stage, was started since the message was sent, is leased, or is past its time.
    An expired lease is for the sweep to clear: it alone decides whether an attempt is left.
    """
    token = uuid4()
    row = conn.execute(
        update(jobs)
        .where(
            jobs.c.id == message.job_id,
            jobs.c.state == message.stage.state,
            jobs.c.attempt == message.attempt,
            jobs.c.lease_token.is_(None),
            in_time,
        )
        .values(attempt=jobs.c.attempt + 1, lease_worker=worker, lease_token=token, lease_expires_at=now + lease)
        .returning(jobs, now.label("started_at"))
    ).one_or_none()
    if row is None:
        return None
    conn.execute(
        insert(stage_runs).values(
            token=token,
            job_id=row.id,
            stage=message.stage,
            attempt=row.attempt,
            rewind=row.rewinds,
            worker=worker,
            ready_at=row.ready_at,
            message_sent_at=row.sent_at,
            started_at=row.started_at,
        )
    )
    return Run(
        job_id=row.id,
        owner_id=row.owner_id,
        image=None if row.image_id is None else _image(conn, row.image_id, row.owner_id),
        source=row.source,
        ask=Ask.restored(row.task, row.inputs),
        in_conversation=row.conversation_id is not None,
        history=history(conn, row.conversation_id, row.turn) if message.stage is not Stage.PIXEL else (),
        generations=_generations(conn, row.id) if message.stage is Stage.PIXEL else (),
        stage=message.stage,
        attempt=row.attempt,
        urgent=is_urgent(row.priority),
        token=token,
        worker=worker,
    )


def take_in(conn: Connection, run: Run, image_id: str) -> Run | None:
    """The job is about the owner's image of that id, which was just stored; None when the run has lost its job."""
    row = conn.execute(update(jobs).where(held(run)).values(image_id=image_id).returning(jobs.c.id)).one_or_none()
    return None if row is None else replace(run, image=_image(conn, image_id, run.owner_id))


def renew(conn: Connection, tokens: Collection[UUID], lease: timedelta) -> set[UUID]:
    """Extend the leases to `lease` from now; a token that is missing from the answer has lost its job."""
    if not tokens:
        return set()
    renewed = conn.execute(
        update(jobs)
        .where(jobs.c.lease_token.in_(tokens))
        .values(lease_expires_at=now + lease)
        .returning(jobs.c.lease_token)
    )
    return set(renewed.scalars())


def complete_vision(conn: Connection, run: Run, timing: Timing) -> Message | None:
    """Hand the job on: to the llm stage, or to the pixel stage when it was here for lost features alone."""
    _expect(run, Stage.VISION)
    generated = exists(select(generations.c.job_id).where(generations.c.job_id == jobs.c.id))
    following = case((generated, State.PIXEL.value), else_=State.LLM.value)
    row = conn.execute(
        update(jobs)
        .where(held(run))
        .values(state=following, attempt=0, ready_at=now, sent_at=now, **RELEASED)
        .returning(*MESSAGE, announced)
    ).one_or_none()
    if row is None:
        return None
    close_run(conn, run, Outcome.COMPLETED, timing)
    return message_of(row)


def complete_llm(conn: Connection, run: Run, generated: Sequence[Generation], timing: Timing) -> Message | None:
    """Keep the answers and hand the job on to the pixel stage."""
    _expect(run, Stage.LLM)
    row = conn.execute(
        update(jobs)
        .where(held(run))
        .values(state=State.PIXEL, attempt=0, ready_at=now, sent_at=now, **RELEASED)
        .returning(*MESSAGE, announced)
    ).one_or_none()
    if row is None:
        return None
    conn.execute(
        insert(generations),
        [
            {
                "job_id": run.job_id,
                "n": n,
                "text": _storable(generation.text),
                "token_ids": list(generation.token_ids),
                "prompt_vectors": generation.prompt_vectors,
                "n_vectors": generation.vector_count,
                "dim": generation.vector_dim,
            }
            for n, generation in enumerate(generated)
        ],
    )
    close_run(conn, run, Outcome.COMPLETED, timing)
    return message_of(row)


def complete_pixel(conn: Connection, run: Run, result: Result, timing: Timing) -> bool:
    """Keep the result; the job has succeeded."""
    _expect(run, Stage.PIXEL)
    if conn.execute(finish(run, State.SUCCEEDED)).one_or_none() is None:
        return False
    conn.execute(insert(results).values(job_id=run.job_id, model_fingerprint=result.fingerprint))
    conn.execute(
        insert(answers),
        [
            {"job_id": run.job_id, "n": n, "text": _storable(answer.text), "raw_text": _storable(answer.raw_text)}
            for n, answer in enumerate(result.answers)
        ],
    )
    found = [(n, phrase) for n, answer in enumerate(result.answers) for phrase in answer.phrases]
    if found:
        conn.execute(insert(phrases), [_phrase_row(run, n, *each) for n, each in enumerate(found)])
    close_run(conn, run, Outcome.COMPLETED, timing)
    outbox.jobs_finished(conn, [run.job_id])
    return True


def rewind(conn: Connection, run: Run, part: str, max_rewinds: int) -> Message | None:
    """Send the job back to vision, because a part of its features has gone.

    None when the run has lost its job, and when the job came back too often already and is failed for it.
    """
    if run.stage is Stage.VISION:
        raise ValueError("vision makes the features and misses none")
    exhausted = jobs.c.rewinds >= max_rewinds
    row = conn.execute(
        update(jobs)
        .where(held(run))
        .values(
            state=case((exhausted, State.FAILED.value), else_=State.VISION.value),
            rewinds=jobs.c.rewinds + case((exhausted, 0), else_=1),
            attempt=case((exhausted, jobs.c.attempt), else_=0),
            ready_at=now,
            sent_at=now,
            finished_at=case((exhausted, now), else_=null()),
            error=case((exhausted, failure(FeaturesLost(part).to_problem())), else_=null()),
            **RELEASED,
        )
        .returning(*MESSAGE, announced)
    ).one_or_none()
    if row is None:
        return None
    close_run(conn, run, Outcome.REWOUND)
    if row.state == State.VISION:
        return message_of(row)
    outbox.jobs_finished(conn, [run.job_id])
    return None


def give_back(conn: Connection, run: Run) -> Message | None:
    """Let go of the job unharmed, as a worker that must stop does: this start does not count."""
    row = conn.execute(
        update(jobs)
        .where(held(run))
        .values(attempt=jobs.c.attempt - 1, ready_at=now, sent_at=now, **RELEASED)
        .returning(*MESSAGE)
    ).one_or_none()
    if row is None:
        return None
    close_run(conn, run, Outcome.GIVEN_BACK)
    return message_of(row)


def fail(conn: Connection, run: Run, problem: Problem) -> bool:
    """End the job with a problem that another attempt would meet again."""
    if conn.execute(finish(run, State.FAILED, error=failure(problem))).one_or_none() is None:
        return False
    close_run(conn, run, Outcome.FAILED, problem=problem)
    outbox.jobs_finished(conn, [run.job_id])
    return True


def retry(conn: Connection, run: Run, problem: Problem, max_attempts: int) -> Message | None:
    """Let go of the job after a problem that may pass: the start counts, and the last one fails the job.

    The message may be sent at once, or left to the sweep, which sends it after its delay.
    """
    exhausted = jobs.c.attempt >= max_attempts
    row = conn.execute(
        update(jobs)
        .where(held(run))
        .values(
            state=case((exhausted, State.FAILED.value), else_=jobs.c.state),
            ready_at=now,
            sent_at=now,
            finished_at=case((exhausted, now), else_=null()),
            error=case((exhausted, failure(problem)), else_=null()),
            **RELEASED,
        )
        .returning(*MESSAGE, announced)
    ).one_or_none()
    if row is None:
        return None
    close_run(conn, run, Outcome.FAILED, problem=problem)
    if row.state != State.FAILED:
        return message_of(row)
    outbox.jobs_finished(conn, [run.job_id])
    return None


def _expect(run: Run, stage: Stage) -> None:
    if run.stage is not stage:
        raise ValueError(f"a run of {run.stage} cannot complete {stage}")


def _storable(text: str) -> str:
    """Postgres takes no null characters; a byte-level tokenizer can produce one. Spans stay as they are."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _phrase_row(run: Run, n: int, answer: int, phrase: Phrase) -> dict[str, Any]:
    return {
        "job_id": run.job_id,
        "n": n,
        "answer": answer,
        "text": None if phrase.text is None else _storable(phrase.text),
        "span_start": phrase.span and phrase.span[0],
        "span_end": phrase.span and phrase.span[1],
        "rle_counts": phrase.rle.counts,
        "height": phrase.rle.height,
        "width": phrase.rle.width,
        "box": phrase.box and list(phrase.box),
        "area": phrase.area,
        "score": phrase.score,
    }


def _image(conn: Connection, image_id: str, owner_id: UUID) -> RunImage:
    columns = [images.c[name] for name in ("id", "object_key", "width", "height")]
    return RunImage(*conn.execute(select(*columns).where(images.c.id == image_id, images.c.owner_id == owner_id)).one())


def _generations(conn: Connection, job_id: UUID) -> tuple[Generation, ...]:
    rows = conn.execute(select(generations).where(generations.c.job_id == job_id).order_by(generations.c.n))
    return tuple(
        Generation(
            text=row.text,
            token_ids=tuple(row.token_ids),
            prompt_vectors=row.prompt_vectors,
            vector_count=row.n_vectors,
            vector_dim=row.dim,
        )
        for row in rows
    )
