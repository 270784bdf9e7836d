"""Jobs: submitted, then asked for until they are finished."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response, status
from sqlalchemy import Connection
from starlette.responses import StreamingResponse

from services.gateway import events, examples, openapi, paging
from services.gateway.body import read_submission
from services.gateway.callers import Reader, Writer
from services.gateway.etags import REVALIDATED, IfNoneMatch, etag, not_modified
from services.gateway.gateway import Current, JobId
from services.gateway.preferences import PreferredWait, waited
from services.gateway.presentation import job_json, job_summary_json
from services.gateway.repeatable import NewId, repeatable
from services.gateway.submissions import require_same, submit
from shared import jobs, schema
from shared.errors import NotFound
from shared.logs import get_logger
from shared.states import State
from shared.tasks import Task

router = APIRouter(tags=["jobs"])
log = get_logger(__name__)

_SUBMISSION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": openapi.one_of(*openapi.JOBS),
                "examples": examples.JOB_REQUESTS,
            },
            "multipart/form-data": {"schema": openapi.JOB_FORM},
        },
    }
}


@router.post(
    "/jobs",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=_SUBMISSION,
    responses={
        200: openapi.example(
            "Finished while it waited", examples.FINISHED_JOB, *openapi.OF_A_NEW_JOB, model=schema.Job
        ),
        202: openapi.example("Queued", examples.QUEUED_JOB, *openapi.OF_A_NEW_JOB),
        **openapi.guarded(409, 413, 415, 422, 503, conflict=openapi.NOT_ARRIVED),
    },
)
@repeatable()
async def submit_job(
    request: Request, response: Response, gateway: Current, caller: Writer, wait: PreferredWait, new_id: NewId
) -> schema.Job:
    """Queue a job on a stored image (JSON with `image_id`) or on one sent along (a form with the file `image`).

    The whole request is judged before anything of it is stored. An image that was declared with POST /images/uploads
    is checked now if it is used for the first time. Ask for the job at the URL in `Location`, or let this request wait
    for it: `Prefer: wait=30`.
    """
    submission = await read_submission(request, gateway.limits)
    view, _ = await submit(gateway, caller, submission, new_id)
    job = job_json(await waited(gateway, caller, view, wait, response), request.scope["root_path"])
    response.headers["Location"] = job.links.self
    return job


@router.get("/jobs", responses={200: openapi.example("A page", examples.JOB_PAGE), **openapi.guarded(422, 503)})
async def list_jobs(
    request: Request,
    gateway: Current,
    caller: Reader,
    state: Annotated[list[State] | None, Query(description="in this state; may be repeated for any of several")] = None,
    task: Annotated[Task | None, Query(description="of this task")] = None,
    image_id: Annotated[schema.ImageId | None, Query(description="on this image")] = None,
    batch_id: Annotated[UUID | None, Query(description="of this batch")] = None,
    limit: paging.Limit = paging.LIMIT,
    cursor: paging.Cursor = None,
) -> schema.JobPage:
    """The owner's jobs, the newest first, page by page. Jobs that come meanwhile do not shift the pages."""
    after = paging.behind(cursor, paging.time_and_id)
    wanted = jobs.JobFilter(None if state is None else tuple(state), task, image_id, batch_id)
    async with gateway.engine.connect() as connection:
        found = await connection.run_sync(jobs.get_page, caller.owner_id, wanted, limit + 1, after)
    page, following = paging.cut(found, limit, lambda entry: (entry.created_at, entry.id))
    return schema.JobPage(
        jobs=[job_summary_json(entry, request.scope["root_path"]) for entry in page],
        next=following,
    )


@router.put(
    "/jobs/{job_id}",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=_SUBMISSION,
    responses={
        200: openapi.example("There already", examples.FINISHED_JOB, *openapi.OF_A_WAIT, model=schema.Job),
        202: openapi.example("Queued", examples.QUEUED_JOB, *openapi.OF_A_WAIT),
        **openapi.guarded(404, 409, 413, 415, 422, 503, conflict=openapi.ANOTHER_REQUEST),
    },
)
async def put_job(
    job_id: JobId, request: Request, response: Response, gateway: Current, caller: Writer, wait: PreferredWait
) -> schema.Job:
    """Queue a job under an id that the client chose, any UUID: sent again, the same request gives the job as it is.

    The request is that of `POST /jobs`. Another one under the id is a conflict that names a field in which they differ.
    An id that another owner uses is not found.
    """
    submission = await read_submission(request, gateway.limits)
    view, created = await gateway.find_job(job_id, caller.owner_id), False
    if view is None:
        view, created = await submit(gateway, caller, submission, job_id)
    else:
        require_same(view, submission.request, submission.image)
    view = await waited(gateway, caller, view, wait, response)
    if not created:
        response.status_code = status.HTTP_200_OK
    return job_json(view, request.scope["root_path"])


@router.get(
    "/jobs/{job_id}",
    response_model=schema.Job,
    responses={
        200: openapi.example("The job as it is now", examples.FINISHED_JOB, *openapi.OF_A_TAGGED_ANSWER),
        304: openapi.NOT_MODIFIED,
        **openapi.guarded(404, 422, 503),
    },
)
async def get_job(
    job_id: JobId,
    request: Request,
    gateway: Current,
    caller: Reader,
    known: IfNoneMatch,
    wait: Annotated[
        float,
        Query(
            ge=0, allow_inf_nan=False, description="seconds to wait for the job to finish; cut to the server's limit"
        ),
    ] = 0,
) -> Response:
    """A job's state, history and, once it has succeeded, its result.

    With `wait` the answer comes as soon as the job has finished (succeeded, failed or canceled), and otherwise after
    that many seconds, or when the gateway stops, with the job as it is then. A move from one stage to the next does
    not end the wait. So a client repeats the request until `state` is a final one.
    """
    root = request.scope["root_path"]
    if not wait:
        # The row alone tells whether anything is new, and spares the history and the masks.
        version = await gateway.job_version(job_id, caller.owner_id)
        if (tag := etag(root, job_id, version)) in known:
            return not_modified(tag, REVALIDATED)
        if (body := gateway.written.get(tag)) is not None:
            return _tagged(body, tag)
    seconds = min(wait, gateway.settings.max_wait_seconds)
    view = await gateway.finished_job(job_id, caller.owner_id, seconds)
    if (tag := etag(root, job_id, view.version)) in known:
        return not_modified(tag, REVALIDATED)
    body = job_json(view, root).model_dump_json().encode()
    gateway.written.keep(tag, body)
    return _tagged(body, tag)


def _tagged(body: bytes, tag: str) -> Response:
    return Response(body, media_type="application/json", headers={"ETag": tag, "Cache-Control": REVALIDATED})


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={
        200: examples.EVENT_STREAM,
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


@router.post(
    "/jobs/{job_id}/cancel",
    responses={
        200: openapi.example("Canceled, or finished before", examples.CANCELED_JOB),
        **openapi.guarded(404, 409, 422, 503, conflict=openapi.UNDER_WAY),
    },
)
@repeatable()
async def cancel_job(job_id: JobId, request: Request, gateway: Current, caller: Writer) -> schema.Job:
    """End a job that is not finished; one that is stays as it is. Doing it again is harmless.

    What a worker computes for the job ends with the engine's step that is under way.
    """

    def cancel(connection: Connection) -> jobs.JobView | None:
        if jobs.cancel(connection, job_id, caller.owner_id):
            log.info("job.canceled")
        return jobs.get(connection, job_id, caller.owner_id)

    async with gateway.engine.begin() as connection:
        view = await connection.run_sync(cancel)
    if view is None:
        raise NotFound("job", job_id)
    return job_json(view, request.scope["root_path"])
