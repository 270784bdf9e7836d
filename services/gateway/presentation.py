"""Jobs, images and conversations as the JSON of the API."""

import itertools
from dataclasses import asdict

from services.gateway.storage import ImageRow
from shared import access, jobs, schema
from shared.tasks import Ask, Box, Task
from shared.webhooks.deliveries import Delivery
from shared.webhooks.endpoints import Endpoint


def key_json(key: access.Key) -> schema.Key:
    return schema.Key(**{**asdict(key), "scopes": sorted(key.scopes)})


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
    url = f"{root}/jobs/{view.id}"
    overlay = f"{url}/overlay.png"
    return schema.Job(
        id=view.id,
        task=view.ask.task,
        request=schema.from_ask(view.ask),
        state=view.state,
        image=_image(view.image),
        turn=view.turn,
        created_at=view.created_at,
        finished_at=view.finished_at,
        queue_position=view.queue_position,
        progress=view.progress,
        stages=[_stage(run) for run in view.stages],
        error=_failure(view.error) if view.error else None,
        result=_result(view.ask, view.result, url, overlay) if view.result else None,
        links=schema.Links(
            self=url,
            image=f"{root}/images/{view.image.id}",
            overlay=overlay if view.result else None,
            conversation=f"{root}/conversations/{view.conversation_id}" if view.conversation_id else None,
        ),
    )


def conversation_json(view: jobs.ConversationView, root: str = "") -> schema.Conversation:
    return schema.Conversation(
        id=view.id,
        image=_image(view.image),
        created_at=view.created_at,
        turns=[f"{root}/jobs/{job_id}" for job_id in view.turns],
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


def _result(ask: Ask, result: jobs.Result, url: str, overlay: str) -> schema.Result:
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
        overlay_url=overlay,
        model=result.fingerprint,
    )


def _answers(ask: Ask, result: jobs.Result) -> list[schema.Answer]:
    """Each with what it is about, and the numbers of its phrases among all of the result's."""
    about: list[tuple[str | None, Box | None]] = [(None, None)] * len(result.answers)
    if ask.task is Task.REFSEG:
        about = [(expression, None) for expression in ask.expressions]
    elif ask.task is Task.REGION_CAPTION:
        about = [(None, box) for box in ask.boxes]
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
