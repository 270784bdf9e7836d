"""Jobs, images, conversations and exports as the JSON of the API."""

import itertools
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from shared import access, batches, exports, jobs, schema
from shared.priority import Priority
from shared.states import State
from shared.stored_images import ImageRow
from shared.tasks import Ask
from shared.webhooks.deliveries import Delivery
from shared.webhooks.endpoints import Endpoint


def key_json(key: access.Key) -> schema.Key:
    return schema.Key(**{**asdict(key), "scopes": sorted(key.scopes)})


def allowance_json(
    owner: str, own: access.OwnerLimits, in_force: access.OwnerLimits, used: schema.LimitsUsed
) -> schema.Allowance:
    return schema.Allowance(
        owner=owner,
        own=schema.OwnerLimits(**asdict(own)),
        in_force=schema.LimitsInForce(**asdict(in_force)),
        used=used,
    )


def webhook_json(endpoint: Endpoint) -> schema.Webhook:
    return schema.Webhook(**asdict(endpoint))


def delivery_json(delivery: Delivery) -> schema.Delivery:
    return schema.Delivery.model_validate(asdict(delivery))


def image_json(image: ImageRow, created: bool) -> schema.StoredImage:
    return schema.StoredImage(
        id=image.id,
        width=image.width,
        height=image.height,
        media_type=image.media_type,
        bytes=image.bytes,
        created=created,
    )


def job_json(view: jobs.JobView, root: str = "") -> schema.Job:
    """root: the path under which a proxy shows the gateway."""
    return schema.Job(
        **_told_of(view, root),
        queue_position=view.queue_position,
        progress=view.progress,
        stages=[_stage(run) for run in view.stages],
        result=_result(view.ask, view.result, f"{root}/jobs/{view.id}") if view.result else None,
    )


def job_summary_json(entry: jobs.JobEntry, root: str = "") -> schema.JobSummary:
    return schema.JobSummary(**_told_of(entry, root))


def _told_of(job: jobs.JobEntry, root: str) -> dict[str, Any]:
    """What lists tell of a job, and the job itself as well."""
    return {
        "id": job.id,
        "task": job.ask.task,
        "request": schema.from_ask(job.ask),
        "state": job.state,
        "image": _image(job.image) if job.image else None,
        "source": job.source,
        "custom_id": job.custom_id,
        "turn": job.turn,
        "priority": Priority.of(job.priority),
        "created_at": job.created_at,
        "expires_at": job.expires_at,
        "finished_at": job.finished_at,
        "error": _failure(job.error) if job.error else None,
        "links": _links(job, root),
    }


def _links(job: jobs.JobEntry, root: str) -> schema.Links:
    url = f"{root}/jobs/{job.id}"
    return schema.Links(
        self=url,
        image=f"{root}/images/{job.image.id}" if job.image else None,
        overlay=f"{url}/overlay.png" if job.state is State.SUCCEEDED else None,
        conversation=f"{root}/conversations/{job.conversation_id}" if job.conversation_id else None,
        batch=f"{root}/batches/{job.batch_id}" if job.batch_id else None,
    )


def batch_json(view: batches.BatchView, root: str = "") -> schema.Batch:
    url = f"{root}/batches/{view.id}"
    return schema.Batch(
        id=view.id,
        name=view.name,
        state="finished" if view.finished_at is not None else view.state.value,
        priority=Priority.of(view.priority),
        created_at=view.created_at,
        expires_at=view.expires_at,
        finished_at=view.finished_at,
        jobs=view.jobs,
        counts=view.counts,
        invalid_lines=view.invalid_lines,
        progress=view.finished / view.jobs,
        rate=view.rate,
        eta_seconds=view.eta_seconds,
        problems=[
            schema.BatchProblem(**asdict(problem), url=f"{url}/jobs?{urlencode({'error_type': problem.type})}")
            for problem in view.problems
        ],
        links=schema.BatchLinks(
            self=url,
            jobs=f"{url}/jobs",
            results=f"{url}/results.jsonl",
            errors=f"{url}/errors.jsonl",
            export=f"{url}/export",
        ),
    )


def batch_job_json(row: batches.JobRow, root: str = "") -> schema.BatchJob:
    return schema.BatchJob(**asdict(row), url=f"{root}/jobs/{row.id}")


def conversation_json(view: jobs.ConversationView, root: str = "") -> schema.Conversation:
    url = f"{root}/conversations/{view.id}"
    return schema.Conversation(
        id=view.id,
        image=_image(view.image),
        created_at=view.created_at,
        turns=[f"{root}/jobs/{job_id}" for job_id in view.turns],
        links=schema.ConversationLinks(self=url, turns=f"{url}/turns"),
    )


def export_json(export: exports.Export, batch_id: UUID, url: str | None) -> schema.Export:
    return schema.Export(
        id=export.id,
        batch_id=batch_id,
        format=export.format,
        state=export.state,
        progress=export.progress,
        jobs=export.jobs,
        bytes=export.bytes,
        created_at=export.created_at,
        finished_at=export.finished_at,
        expires_at=export.expires_at,
        url=url,
        error=schema.Problem(**asdict(export.error)) if export.error else None,
    )


def _image(view: jobs.ImageView) -> schema.Image:
    return schema.Image(id=view.id, width=view.width, height=view.height, media_type=view.media_type)


def _stage(run: jobs.StageRun) -> schema.StageRun:
    timing = run.timing
    return schema.StageRun(
        stage=run.stage,
        attempt=run.attempt,
        worker=run.worker,
        started_at=run.started_at,
        finished_at=run.finished_at,
        outcome=run.outcome,
        cached=run.cached,
        waited_ms=run.waited_ms,
        fetch_ms=timing.fetch_ms if timing else None,
        engine_wait_ms=timing.engine_wait_ms if timing else None,
        engine_ms=timing.engine_ms if timing else None,
        store_ms=timing.store_ms if timing else None,
        total_ms=run.total_ms,
        error=schema.Problem(**asdict(run.error)) if run.error else None,
    )


def _failure(failure: jobs.Failure) -> schema.Failure:
    return schema.Failure(**asdict(failure.problem), stage=failure.stage, attempt=failure.attempt)


def _result(ask: Ask, result: jobs.Result, url: str) -> schema.Result:
    return schema.Result(
        text=result.text,
        answers=_answers(ask, result),
        phrases=[
            schema.Phrase(
                n=n,
                text=phrase.text,
                span=phrase.span,
                mask=schema.Mask(size=(phrase.rle.height, phrase.rle.width), counts=phrase.rle.counts),
                box=phrase.box,
                area=phrase.area,
                score=phrase.score,
                mask_url=f"{url}/masks/{n}.png",
            )
            for n, phrase in enumerate(result.phrases)
        ],
        overlay_url=f"{url}/overlay.png",
        model=result.fingerprint,
    )


def _answers(ask: Ask, result: jobs.Result) -> list[schema.Answer]:
    """Each with what it is about, and the numbers of its phrases among all of the result's."""
    about = ask.about(len(result.answers))
    numbers = itertools.count()
    return [
        schema.Answer(
            text=answer.text,
            span=span,
            expression=expression,
            box=box,
            phrases=[next(numbers) for _ in answer.phrases],
        )
        for answer, span, (expression, box) in zip(result.answers, result.spans, about, strict=True)
    ]
