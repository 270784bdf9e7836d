"""From a request to a queued job, under an id that may have one already."""

from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Connection

from services.gateway import storage
from services.gateway.body import IMAGE_FIELD, Submission
from services.gateway.gateway import Gateway
from shared import jobs, schema
from shared.access import Principal
from shared.errors import IdTaken, InvalidInput, NotFound
from shared.images import CheckedImage
from shared.logs import get_logger
from shared.stored_images import ImageRow
from shared.tasks import validate

log = get_logger(__name__)

_Image = CheckedImage | ImageRow | jobs.ImageView


def new_job(
    gateway: Gateway, caller: Principal, request: schema.AskRequest, image: _Image, job_id: UUID
) -> jobs.NewJob:
    """The request as a job on an image. Raises InvalidInput."""
    ask, longest = schema.to_ask(request), gateway.settings.job_ttl_seconds
    validate(ask, image.width, image.height, gateway.ask_limits)
    if request.expires_in is not None and request.expires_in > longest:
        raise InvalidInput(
            "expires_in", f"{request.expires_in:g} s is longer than a job may take.", f"Send at most {longest:g}."
        )
    return jobs.NewJob(
        image.id,
        ask,
        priority=request.priority.rank,
        ttl=timedelta(seconds=longest if request.expires_in is None else request.expires_in),
        owner_id=caller.owner_id,
        most_queued=gateway.in_force(caller.limits).queued_jobs,
        id=job_id,
    )


async def submit(
    gateway: Gateway, caller: Principal, submission: Submission, job_id: UUID
) -> tuple[jobs.JobView, bool]:
    """Queue the job under that id, and its image with it; or the job that has the id. Whether it is a new one.

    Raises InvalidInput, LimitReached, IdTaken where the id has another job of the owner, NotFound where it has another
    owner's.
    """
    image = await _image(gateway, caller, submission)
    new = new_job(gateway, caller, submission.request, image, job_id)
    if isinstance(image, CheckedImage):
        await _store(gateway, caller, image, new)
    async with gateway.engine.begin() as connection:
        try:
            view, created = await connection.run_sync(_create, new)
        except NotFound as error:
            # It was deleted since it was looked up; the other thing that may not be found is the id's owner.
            raise storage.unknown(image.id) if error.what == "image" else error from error
    if created:
        log.info("job.queued", job_id=str(view.id), image_id=image.id, task=new.ask.task.value)
    else:
        require_same(view, submission.request, submission.image)
    return view, created


async def _store(gateway: Gateway, caller: Principal, image: CheckedImage, new: jobs.NewJob) -> None:
    """Before the job, and for itself: whatever becomes of the job, the image counts and can be deleted."""
    async with gateway.engine.connect() as connection:
        await connection.run_sync(jobs.require_room, new.owner_id, new.most_queued)
    await storage.keep(gateway, caller, image)
    async with gateway.engine.begin() as connection:
        await storage.record(gateway, connection, caller.owner_id, image)


def require_same(view: jobs.JobView, request: schema.AskRequest, image: bytes | str | None = None) -> None:
    """Raises IdTaken, naming the first field that differs, where the job comes of another request.

    image: what the request brings or names; None for a turn, whose conversation knows it.
    """
    field = _difference(view, request, image)
    if field is not None:
        raise IdTaken("job", view.id, field=field, remedy="Send what was sent first, or choose another id.")


def _difference(view: jobs.JobView, request: schema.AskRequest, image: bytes | str | None) -> str | None:
    there_id = view.image.id if view.image else None
    if isinstance(image, bytes) and sha256(image).hexdigest() != there_id:
        return IMAGE_FIELD
    if isinstance(image, str) and image != there_id:
        return "image_id"
    there = schema.from_ask(view.ask).model_dump()
    for field, value in schema.from_ask(schema.to_ask(request)).model_dump().items():
        if field not in there or there[field] != value:
            return field if field in there else "task"
    if request.priority.rank != view.priority:
        return "priority"
    # Left out it is the service's own time, which may have been another one then. The database keeps microseconds.
    given = (view.expires_at - view.created_at).total_seconds()
    if request.expires_in is not None and round(request.expires_in, 6) != given:
        return "expires_in"
    return None


def _create(connection: Connection, new: jobs.NewJob) -> tuple[jobs.JobView, bool]:
    """In one transaction, for an error after the commit would make the client submit the job again."""
    assert new.id is not None
    try:
        jobs.create(connection, new)
        created = True
    except IdTaken:
        created = False
    view = jobs.get(connection, new.id, new.owner_id)
    if view is None:
        # Another owner's, so it is not there for this one.
        raise NotFound("job", new.id, remedy="Choose another id: a random UUID is nobody's.")
    return view, created


async def _image(gateway: Gateway, caller: Principal, submission: Submission) -> CheckedImage | ImageRow:
    if isinstance(submission.image, bytes):
        return await gateway.check(submission.image)
    return await storage.named(gateway, caller.owner_id, submission.image)
