"""Jobs: submitted, then asked for until they are finished."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, status
from sqlalchemy import Connection
from starlette.responses import StreamingResponse

from services.gateway import events, openapi, storage
from services.gateway.body import Submission, read_submission
from services.gateway.callers import Reader, Writer
from services.gateway.gateway import Current, Gateway, JobId
from services.gateway.presentation import job_json
from shared import jobs, schema
from shared.access import Principal
from shared.errors import InvalidInput
from shared.images import CheckedImage
from shared.logs import get_logger
from shared.tasks import validate

router = APIRouter(tags=["jobs"])
log = get_logger(__name__)

_SUBMISSION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": openapi.one_of(*openapi.JOBS),
                "examples": openapi.JOB_REQUESTS,
            },
            "multipart/form-data": {"schema": openapi.JOB_FORM},
        },
    }
}


@router.post(
    "/jobs",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=_SUBMISSION,
    responses={202: openapi.example("Queued", openapi.QUEUED_JOB), **openapi.guarded(413, 415, 422, 503)},
)
async def submit_job(request: Request, response: Response, gateway: Current, caller: Writer) -> schema.Job:
    """Queue a job on a stored image (JSON with `image_id`) or on one sent along (a form with the file `image`).

    The whole request is judged before anything of it is stored. Ask for the job at the URL in `Location`.
    """
    submission = await read_submission(request, gateway.limits)
    image = await _image(gateway, caller, submission)
    new = new_job(gateway, caller, submission.request, image.id, image.width, image.height)
    if isinstance(image, CheckedImage):
        await storage.keep(gateway, caller, image)
    async with gateway.engine.begin() as connection:
        if isinstance(image, CheckedImage):
            await storage.record(gateway, connection, caller.owner_id, image)
        view = await connection.run_sync(_create, new)
    log.info("job queued", job_id=str(view.id), image_id=image.id, task=new.ask.task.value)
    job = job_json(view, request.scope["root_path"])
    response.headers["Location"] = job.links.self
    return job


@router.get(
    "/jobs/{job_id}",
    responses={200: openapi.example("The job as it is now", openapi.FINISHED_JOB), **openapi.guarded(404, 422, 503)},
)
async def get_job(
    job_id: JobId,
    request: Request,
    gateway: Current,
    caller: Reader,
    wait: Annotated[
        float,
        Query(
            ge=0, allow_inf_nan=False, description="seconds to wait for the job to finish; cut to the server's limit"
        ),
    ] = 0,
) -> schema.Job:
    """A job's state, history and, once it has succeeded, its result.

    With `wait` the answer comes as soon as the job has finished (succeeded, failed or canceled), and otherwise after
    that many seconds, or when the gateway stops, with the job as it is then. A move from one stage to the next does
    not end the wait. So a client repeats the request until `state` is a final one.
    """
    seconds = min(wait, gateway.settings.max_wait_seconds)
    return job_json(await gateway.finished_job(job_id, caller.owner_id, seconds), request.scope["root_path"])


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: openapi.EVENT_STREAM,
        204: {"description": "The client has had the last event already: `Last-Event-ID` is `end`"},
        **openapi.guarded(404, 422, 503),
    },
)
async def follow_job(
    job_id: JobId,
    request: Request,
    gateway: Current,
    caller: Reader,
    last_event_id: Annotated[str | None, Header(description="the id of the last event that the client has")] = None,
) -> Response:
    """A job's life as Server-Sent Events.

    `event: job` carries the job as GET /jobs/{id} has it: as it is now, after each change of its state (changes that
    follow each other closely may come as one), and at last, under the id `end`, with its result; then the stream ends.
    `event: text` carries one answer of the job while the model writes it, as it will be shown: without markup, all of
    it so far. It comes up to five times a second, and may not come at all; the final job has the whole of it.

    A client that comes back gets the job as it is then: nothing has to be replayed. Comments keep the connection alive.
    The stream also ends when the gateway stops and after an hour: come back.
    """
    view = await gateway.job(job_id, caller.owner_id)
    if view.state.finished and last_event_id == events.LAST:
        return Response(status_code=status.HTTP_204_NO_CONTENT)
    gateway.streams.require_room()
    stream = events.job_events(gateway, job_id, caller.owner_id, request.scope["root_path"])
    return StreamingResponse(stream, headers=events.HEADERS, media_type=events.MEDIA_TYPE)


def new_job(
    gateway: Gateway, caller: Principal, request: schema.AskRequest, image_id: str, width: int, height: int
) -> jobs.NewJob:
    """The request as a job on an image of width × height pixels. Raises InvalidInput."""
    ask = schema.to_ask(request)
    validate(ask, width, height, gateway.ask_limits)
    most = caller.limits.queued_jobs
    return jobs.NewJob(
        image_id,
        ask,
        ttl=timedelta(seconds=gateway.settings.job_ttl_seconds),
        owner_id=caller.owner_id,
        most_queued=gateway.settings.max_queued_jobs if most is None else most,
    )


def _create(connection: Connection, new: jobs.NewJob) -> jobs.JobView:
    """In one transaction, for an error after the commit would make the client submit the job again."""
    view = jobs.get(connection, jobs.create(connection, new))
    assert view is not None
    return view


async def _image(gateway: Gateway, caller: Principal, submission: Submission) -> CheckedImage | storage.ImageRow:
    if isinstance(submission.image, bytes):
        return await gateway.check(submission.image)
    row = await storage.find(gateway, caller.owner_id, submission.image)
    if row is None:
        raise InvalidInput(
            "image_id", f"There is no image {submission.image}.", "Send the image with POST /images first."
        )
    return row
