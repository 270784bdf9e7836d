"""Conversations: turns on one image, each a job that sees the turns before it."""

from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request, Response, status
from pydantic import ValidationError
from sqlalchemy import Connection

from services.gateway import examples, openapi, paging, storage
from services.gateway.body import read_ask, read_json
from services.gateway.callers import Reader, Writer
from services.gateway.errors import from_pydantic
from services.gateway.gateway import Current, Gateway
from services.gateway.preferences import PreferredWait, waited
from services.gateway.presentation import conversation_json, job_json, job_summary_json
from services.gateway.repeatable import NewId, repeatable
from services.gateway.submissions import new_job, require_same
from shared import jobs, schema
from shared.access import Principal
from shared.errors import IdTaken, NotFound
from shared.logs import get_logger

router = APIRouter(tags=["conversations"])
log = get_logger(__name__)


async def logged_conversation_id(conversation_id: UUID) -> UUID:
    structlog.contextvars.bind_contextvars(conversation_id=str(conversation_id))
    return conversation_id


ConversationId = Annotated[UUID, Depends(logged_conversation_id)]

_BEGIN: dict[str, Any] = openapi.json_body({"$ref": openapi.ref("ConversationRequest")}, examples.CONVERSATION_REQUESTS)
_TURN: dict[str, Any] = openapi.json_body(openapi.one_of(*openapi.ASKS), examples.TURN_REQUESTS)


@router.post(
    "/conversations",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=_BEGIN,
    responses={
        201: openapi.example("Begun", examples.CONVERSATION, *openapi.OF_A_NEW_ONE),
        **openapi.guarded(409, 413, 415, 422, 503, conflict=openapi.NOT_ARRIVED),
    },
)
@repeatable()
async def begin_conversation(
    request: Request, response: Response, gateway: Current, caller: Writer, new_id: NewId
) -> schema.Conversation:
    """Begin a conversation about a stored image. The image is encoded with its first turn, and then no more."""
    try:
        asked = schema.ConversationRequest.model_validate_json(await read_json(request))
    except ValidationError as error:
        raise from_pydantic(error) from error
    image = await storage.named(gateway, caller.owner_id, asked.image_id)
    async with gateway.engine.begin() as connection:
        try:
            view = await connection.run_sync(_begin, image.id, caller.owner_id, new_id)
        except NotFound as error:
            raise storage.unknown(image.id) from error
    conversation = conversation_json(view, request.scope["root_path"])
    response.headers["Location"] = f"{request.scope['root_path']}/conversations/{view.id}"
    return conversation


@router.get(
    "/conversations/{conversation_id}",
    responses={200: openapi.example("With its turns", examples.CONVERSATION), **openapi.guarded(404, 422, 503)},
)
async def get_conversation(
    conversation_id: ConversationId, request: Request, gateway: Current, caller: Reader
) -> schema.Conversation:
    """A conversation's image and the URLs of its turns, of the last 200 if it has more."""
    return conversation_json(await _conversation(gateway, caller, conversation_id), request.scope["root_path"])


@router.get(
    "/conversations/{conversation_id}/turns",
    responses={200: openapi.example("A page", examples.TURN_PAGE), **openapi.guarded(404, 422, 503)},
)
async def list_turns(
    conversation_id: ConversationId,
    request: Request,
    gateway: Current,
    caller: Reader,
    cursor: paging.Cursor = None,
    limit: paging.Limit = paging.LIMIT,
) -> schema.JobPage:
    """The turns of a conversation, oldest first, page by page, without their stages and results."""
    after = paging.behind(cursor, paging.number) or 0

    def read_page(connection: Connection) -> list[jobs.JobEntry]:
        jobs.require_conversation(connection, conversation_id, caller.owner_id)
        return jobs.get_turns(connection, conversation_id, after, limit + 1)

    async with gateway.engine.connect() as connection:
        found = await connection.run_sync(read_page)
    root, (page, following) = request.scope["root_path"], paging.cut(found, limit, lambda turn: (turn.turn,))
    return schema.JobPage(jobs=[job_summary_json(turn, root) for turn in page], next=following)


@router.post(
    "/conversations/{conversation_id}/turns",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=_TURN,
    responses={
        200: openapi.example(
            "Finished while it waited", examples.FINISHED_TURN, *openapi.OF_A_NEW_JOB, model=schema.Job
        ),
        202: openapi.example("Queued", examples.QUEUED_TURN, *openapi.OF_A_NEW_JOB),
        **openapi.guarded(404, 409, 413, 415, 422, 503, conflict=openapi.NO_TURN_NOW),
    },
)
@repeatable()
async def take_turn(
    conversation_id: ConversationId,
    request: Request,
    response: Response,
    gateway: Current,
    caller: Writer,
    wait: PreferredWait,
    new_id: NewId,
) -> schema.Job:
    """Queue the next turn: any task, boxes of its own included. One turn runs at a time.

    It sees the earlier turns that succeeded, as the model wrote them; the oldest are forgotten when they no longer fit.
    """
    asked = await read_ask(request)
    image = (await _conversation(gateway, caller, conversation_id)).image
    new = new_job(gateway, caller, asked, image, new_id)
    async with gateway.engine.begin() as connection:
        view = await connection.run_sync(_take_turn, conversation_id, new)
    require_same(view, asked)
    log.info("job.queued", job_id=str(view.id), image_id=image.id, task=new.ask.task.value, turn=view.turn)
    job = job_json(await waited(gateway, caller, view, wait, response), request.scope["root_path"])
    response.headers["Location"] = job.links.self
    return job


async def _conversation(gateway: Gateway, caller: Principal, conversation_id: UUID) -> jobs.ConversationView:
    """Raises NotFound."""
    async with gateway.engine.connect() as connection:
        view = await connection.run_sync(jobs.get_conversation, conversation_id, caller.owner_id)
    if view is None:
        raise NotFound("conversation", conversation_id)
    return view


def _begin(connection: Connection, image_id: str, owner_id: UUID, conversation_id: UUID) -> jobs.ConversationView:
    """The conversation, which a gateway may have begun that died before it had answered."""
    with suppress(IdTaken):
        jobs.begin(connection, image_id, owner_id, conversation_id)
    view = jobs.get_conversation(connection, conversation_id, owner_id)
    assert view is not None
    if view.image.id != image_id:
        raise IdTaken(
            "conversation",
            conversation_id,
            field="image_id",
            remedy="Send what was sent first, or another Idempotency-Key.",
        )
    return view


def _take_turn(connection: Connection, conversation_id: UUID, new: jobs.NewJob) -> jobs.JobView:
    """The turn, likewise."""
    assert new.id is not None
    with suppress(IdTaken):
        jobs.add_turn(connection, conversation_id, new)
    view = jobs.get(connection, new.id, new.owner_id)
    assert view is not None
    return view
