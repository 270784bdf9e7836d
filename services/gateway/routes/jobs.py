"""Jobs: submitted, then asked for until they are finished."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response, status
from sqlalchemy import Connection

from services.gateway import openapi, storage
from services.gateway.body import Submission, read_submission
from services.gateway.callers import Reader, Writer
from services.gateway.gateway import Current, Gateway, JobId
from services.gateway.presentation import job_json
from shared import jobs, schema
from shared.access import Principal
from shared.errors import NotFound
from shared.images import CheckedImage
from shared.logs import get_logger
from shared.stored_images import ImageRow
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
    responses={202: openapi.example("Queued", openapi.QUEUED_JOB), **openapi.guarded(409, 413, 415, 422, 503)},
)
async def submit_job(request: Request, response: Response, gateway: Current, caller: Writer) -> schema.Job:
    """Queue a job on a stored image (JSON with `image_id`) or on one sent along (a form with the file `image`).

    The whole request is judged before anything of it is stored. An image that was declared with POST /images/uploads
    is checked now if it is used for the first time. Ask for the job at the URL in `Location`.
    """
    submission = await read_submission(request, gateway.limits)
    image = await _image(gateway, caller, submission)
    new = new_job(gateway, caller, submission.request, image.id, image.width, image.height)
    if isinstance(image, CheckedImage):
        await storage.keep(gateway, caller, image)
    async with gateway.engine.begin() as connection:
        if isinstance(image, CheckedImage):
            await storage.record(gateway, connection, caller.owner_id, image)
        try:
            view = await connection.run_sync(_create, new)
        except NotFound as error:
            raise storage.unknown(image.id) from error
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


async def _image(gateway: Gateway, caller: Principal, submission: Submission) -> CheckedImage | ImageRow:
    if isinstance(submission.image, bytes):
        return await gateway.check(submission.image)
    return await storage.named(gateway, caller.owner_id, submission.image)
