"""A finished job as pictures: one mask, or everything drawn over the image."""

from io import BytesIO
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from services.gateway import openapi
from services.gateway.callers import Reader
from services.gateway.etags import IfNoneMatch, etag, not_modified
from services.gateway.gateway import Current, JobId
from shared import images, jobs, legend, masks
from shared.errors import Conflict, NotFound
from shared.overlay import OverlayPhrase, render
from shared.tasks import Ask, Task

router = APIRouter(tags=["jobs"])

# A result never changes.
_CACHE = "private, max-age=86400, immutable"
_PNG: dict[int | str, dict[str, Any]] = {
    200: {**openapi.PNG, "headers": openapi.headers(*openapi.OF_A_TAGGED_ANSWER)},
    304: openapi.NOT_MODIFIED,
}


@router.get(
    "/jobs/{job_id}/masks/{n}.png",
    response_class=Response,
    responses={**_PNG, **openapi.guarded(404, 409, 422, 503)},
)
async def get_mask(
    job_id: JobId, n: Annotated[int, Path(ge=0)], gateway: Current, caller: Reader, known: IfNoneMatch
) -> Response:
    """The mask of phrase `n` at the size of the upright image: 8-bit grey, 255 inside and 0 outside."""
    view = await gateway.job(job_id, caller.owner_id)
    result = _result(view)
    count = len(result.phrases)
    if n >= count:
        numbers = f"Its masks are numbered from 0 to {count - 1}." if count else "It has no masks."
        raise NotFound(f"mask of job {job_id} with the number", n, field="n", remedy=numbers)
    tag = etag("mask", job_id, n, view.version)
    if tag in known:
        return not_modified(tag, _CACHE)
    return _png(await gateway.on_picture(masks.to_png, result.phrases[n].rle), tag)


@router.get(
    "/jobs/{job_id}/overlay.png",
    response_class=Response,
    responses={**_PNG, **openapi.guarded(404, 409, 422, 503)},
)
async def get_overlay(job_id: JobId, gateway: Current, caller: Reader, known: IfNoneMatch) -> Response:
    """The image with each phrase's mask in the phrase's colour, above a legend with the caption."""
    view = await gateway.job(job_id, caller.owner_id)
    result = _result(view)
    deleted = Conflict(f"The image of job {job_id} was deleted.", remedy="Read the job's masks, which are there still.")
    if view.image is None or view.image.deleted:
        raise deleted
    tag = etag("overlay", job_id, view.version)
    if tag in known:
        return not_modified(tag, _CACHE)
    try:
        data = await gateway.on_network(gateway.objects.get, view.image.object_key)
    except NotFound:
        raise deleted from None
    return _png(await gateway.on_picture(_draw, data, view.ask, result), tag)


def _result(view: jobs.JobView) -> jobs.Result:
    if view.result is not None:
        return view.result
    if view.state.finished:
        remedy = "See the job's error, then submit it again." if view.error else "Submit it again."
        raise Conflict(f"The job {view.id} has {view.state} and has no result.", remedy=remedy)
    raise Conflict(f"The job {view.id} is not finished ({view.state}).", remedy=f"Wait: GET /jobs/{view.id}?wait=30.")


def _draw(data: bytes, ask: Ask, result: jobs.Result) -> bytes:
    phrases = [OverlayPhrase(phrase.text, phrase.rle, phrase.box, phrase.span) for phrase in result.phrases]
    found = [any(phrase.area for phrase in answer.phrases) for answer in result.answers]
    note = legend.unfound(zip(ask.expressions, found, strict=True) if ask.task is Task.REFSEG else ())
    buffer = BytesIO()
    render(images.decode(data), phrases, result.text, note).save(buffer, "PNG")
    return buffer.getvalue()


def _png(data: bytes, tag: str) -> Response:
    return Response(data, media_type="image/png", headers={"ETag": tag, "Cache-Control": _CACHE})
