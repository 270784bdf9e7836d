"""A job and its image as the JSON of the API."""

from dataclasses import asdict

from services.gateway.storage import ImageRow
from shared import jobs, schema


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
        task=view.task,
        state=view.state,
        prompt=view.prompt,
        boxes=list(view.boxes),
        image=schema.Image(
            id=view.image.id, width=view.image.width, height=view.image.height, media_type=view.image.media_type
        ),
        created_at=view.created_at,
        finished_at=view.finished_at,
        queue_position=view.queue_position,
        progress=view.progress,
        stages=[_stage(run) for run in view.stages],
        error=_failure(view.error) if view.error else None,
        result=_result(view.result, url, overlay) if view.result else None,
        links=schema.Links(self=url, image=f"{root}/images/{view.image.id}", overlay=overlay if view.result else None),
    )


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


def _result(result: jobs.Result, url: str, overlay: str) -> schema.Result:
    return schema.Result(
        text=result.text,
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
