"""Batches: many jobs from one request, watched and steered together, and their results as one stream."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from sqlalchemy import Connection

from services.gateway import examples, openapi, paging
from services.gateway.body import content_type, gathered, read_json, require_plain
from services.gateway.callers import Reader, Writer
from services.gateway.errors import from_pydantic
from services.gateway.gateway import Current, Gateway
from services.gateway.manifest import sources
from services.gateway.manifest.lines import Lines, RawLine
from services.gateway.manifest.reading import Rules, read
from services.gateway.manifest.spool import Spool
from services.gateway.presentation import batch_job_json, batch_json
from services.gateway.reading_ahead import ClosingResponse, read_ahead
from services.gateway.repeatable import NewId, digest_so_far, repeatable
from shared import batches, schema
from shared.access import Principal
from shared.errors import InvalidInput, UnsupportedMedia
from shared.logs import get_logger
from shared.states import State
from shared.tasks import Task

router = APIRouter(tags=["batches"])
log = get_logger(__name__)

JSON_LINES = ("application/jsonl", "application/x-ndjson")
_CHUNK = 1024 * 1024

_CREATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": openapi.ref("BatchRequest")}, "examples": examples.BATCH_REQUESTS},
            **{
                kind: {
                    "schema": {"type": "string", "description": "a job a line: a ManifestLine of its task"},
                    "example": examples.MANIFEST,
                }
                for kind in JSON_LINES
            },
        },
    }
}


def _lines(example: str) -> dict[int | str, dict[str, Any]]:
    content = {JSON_LINES[0]: {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": "JSON Lines", "content": content}, **openapi.guarded(404, 422, 503)}


_STEERED: dict[int | str, dict[str, Any]] = {
    200: openapi.example("As it is now", examples.BATCH),
    **openapi.guarded(404, 409, 422, 503),
}

_AT_ONCE = 2
"""Pages of a stream that the database writes at a time, while one is sent."""


@router.post(
    "/batches",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=_CREATION,
    responses={
        201: openapi.example("Queued", examples.BATCH, *openapi.OF_A_NEW_ONE),
        **openapi.guarded(409, 413, 415, 422, 503, conflict=openapi.UNDER_WAY),
    },
)
@repeatable()
async def create_batch(
    request: Request,
    response: Response,
    gateway: Current,
    caller: Writer,
    options: Annotated[schema.BatchOptions, Query()],
    new_id: NewId,
) -> schema.Batch:
    """Queue many jobs at once: those of a manifest, or one job on each image of a list or below a bucket's prefix.

    A manifest is JSON Lines in UTF-8, of any length and not compressed, a job a line. What holds for the batch as a
    whole says the query with a manifest, and the body with JSON. All is judged before anything is stored.
    """
    kind = content_type(request.headers)
    if kind == "application/json":
        asked = await _read_request(request)
        origin = batches.Origin.PREFIX if asked.image_ids is None else batches.Origin.IMAGE_IDS
        new = replace(_new_batch(gateway, caller, asked, new_id), origin=origin)
    elif kind in JSON_LINES:
        require_plain(request.headers)
        asked = None
        new = _new_batch(gateway, caller, options, new_id)
    else:
        raise UnsupportedMedia(
            "Content-Type",
            f"POST /batches does not read {kind or 'a body without a type'}.",
            f"Send a manifest as {JSON_LINES[0]}, or application/json.",
        )
    with Spool(gateway.settings.max_batch_jobs, new.skip) as spool:
        if asked is None:
            await _spool_manifest(gateway, request, spool)
        else:
            await gateway.on_network(spool.add, sources.lines(asked, _rules(gateway), gateway.objects))
        new = replace(new, request_digest=digest_so_far(request))
        async with gateway.engine.begin() as connection:
            batch_id = await batches.create(connection, new, spool.blocks(), spool.faults)
            view = await connection.run_sync(batches.get, batch_id, caller.owner_id)
    log.info("batch.queued", batch_id=str(batch_id), jobs=view.jobs, invalid_lines=view.invalid_lines)
    batch = batch_json(view, request.scope["root_path"])
    response.headers["Location"] = batch.links.self
    return batch


@router.get("/batches", responses={200: openapi.example("A page", examples.BATCHES), **openapi.guarded(422, 503)})
async def list_batches(
    request: Request, gateway: Current, caller: Reader, cursor: paging.Cursor = None, limit: paging.Limit = paging.LIMIT
) -> schema.Batches:
    """The owner's batches, the newest first."""
    async with gateway.engine.connect() as connection:
        found = await connection.run_sync(batches.page, caller.owner_id, paging.behind(cursor, UUID), limit + 1)
    root, (page, following) = request.scope["root_path"], paging.cut(found, limit, lambda view: (view.id,))
    return schema.Batches(batches=[batch_json(view, root) for view in page], next=following)


@router.get(
    "/batches/{batch_id}",
    responses={200: openapi.example("As it is now", examples.BATCH), **openapi.guarded(404, 422, 503)},
)
async def get_batch(batch_id: UUID, request: Request, gateway: Current, caller: Reader) -> schema.Batch:
    """How far a batch is: its jobs by state, how fast it goes, and why jobs failed."""
    return await _steered(gateway, request, batch_id, caller, None)


@router.get(
    "/batches/{batch_id}/jobs",
    responses={200: openapi.example("A page", examples.BATCH_JOBS), **openapi.guarded(404, 422, 503)},
)
async def list_batch_jobs(
    batch_id: UUID,
    request: Request,
    gateway: Current,
    caller: Reader,
    state: Annotated[list[State] | None, Query(description="in this state; may be repeated for any of several")] = None,
    task: Annotated[Task | None, Query(description="of this task")] = None,
    custom_id: Annotated[schema.CustomId | None, Query(description="that you call so; one of a batch at most")] = None,
    error_type: Annotated[
        str | None,
        Query(
            max_length=200, pattern=r"^[^\x00]*$", description="failed with this type of problem, as `problems` has it"
        ),
    ] = None,
    cursor: paging.Cursor = None,
    limit: paging.Limit = paging.LIMIT,
) -> schema.BatchJobs:
    """The jobs of a batch in the order of its manifest, without their results."""
    after = paging.behind(cursor, paging.number) or 0
    wanted = batches.RowFilter(None if state is None else tuple(state), task, custom_id, error_type)

    def read_page(connection: Connection) -> list[batches.JobRow]:
        batches.require(connection, batch_id, caller.owner_id)
        return batches.jobs_page(connection, batch_id, wanted, limit + 1, after)

    async with gateway.engine.connect() as connection:
        found = await connection.run_sync(read_page)
    root, (page, following) = request.scope["root_path"], paging.cut(found, limit, lambda row: (row.line,))
    return schema.BatchJobs(jobs=[batch_job_json(row, root) for row in page], next=following)


@router.post("/batches/{batch_id}/cancel", responses=_STEERED)
@repeatable()
async def cancel_batch(batch_id: UUID, request: Request, gateway: Current, caller: Writer) -> schema.Batch:
    """Cancel every job that has not finished. None starts from now on; the last are gone within seconds."""
    return await _steered(gateway, request, batch_id, caller, batches.cancel)


@router.post("/batches/{batch_id}/pause", responses=_STEERED)
@repeatable()
async def pause_batch(batch_id: UUID, request: Request, gateway: Current, caller: Writer) -> schema.Batch:
    """Start no more of its jobs; those that have started go on."""
    return await _steered(gateway, request, batch_id, caller, batches.pause)


@router.post("/batches/{batch_id}/resume", responses=_STEERED)
@repeatable()
async def resume_batch(batch_id: UUID, request: Request, gateway: Current, caller: Writer) -> schema.Batch:
    """Go on with a batch that was paused."""
    return await _steered(gateway, request, batch_id, caller, batches.resume)


@router.post("/batches/{batch_id}/retry", responses=_STEERED)
@repeatable()
async def retry_batch(batch_id: UUID, request: Request, gateway: Current, caller: Writer) -> schema.Batch:
    """Queue the jobs that have failed once more, and only those. They count against what may wait."""
    retry = partial(batches.retry, most_queued=gateway.in_force(caller.limits).queued_jobs)
    return await _steered(gateway, request, batch_id, caller, retry)


@router.get(
    "/batches/{batch_id}/results.jsonl", response_class=StreamingResponse, responses=_lines(examples.RESULT_LINES)
)
async def get_results(batch_id: UUID, gateway: Current, caller: Reader) -> StreamingResponse:
    """The results that there are, by line of the manifest: a line of JSON a job. Also while the batch runs."""
    return await _streamed(gateway, batch_id, caller, batches.result_pages)


@router.get(
    "/batches/{batch_id}/errors.jsonl", response_class=StreamingResponse, responses=_lines(examples.ERROR_LINES)
)
async def get_errors(batch_id: UUID, gateway: Current, caller: Reader) -> StreamingResponse:
    """What has no result: lines that were invalid, then jobs that failed, then those that were canceled."""
    return await _streamed(gateway, batch_id, caller, batches.error_pages)


async def _read_request(request: Request) -> schema.BatchRequest:
    if request.url.query:
        raise InvalidInput("query", "With JSON the body says it all, and there is a query.", "Leave the query out.")
    try:
        return schema.BatchRequest.model_validate_json(await read_json(request))
    except ValidationError as error:
        raise from_pydantic(error) from error


def _new_batch(gateway: Gateway, caller: Principal, options: schema.BatchOptions, batch_id: UUID) -> batches.NewBatch:
    settings = gateway.settings
    seconds = settings.job_ttl_seconds if options.expires_in is None else options.expires_in
    if seconds > settings.job_ttl_seconds:
        most = f"{settings.job_ttl_seconds:,.0f} s"
        raise InvalidInput("expires_in", f"No job is kept waiting for longer than {most}.", f"Send at most {most}.")
    return batches.NewBatch(
        caller.owner_id,
        options.name,
        options.priority.rank,
        timedelta(seconds=seconds),
        skip=options.on_invalid == "skip",
        most_queued=gateway.in_force(caller.limits).queued_jobs,
        id=batch_id,
    )


def _rules(gateway: Gateway) -> Rules:
    return Rules(gateway.ask_limits, gateway.settings.max_image_side, gateway.settings.import_buckets)


async def _spool_manifest(gateway: Gateway, request: Request, spool: Spool) -> None:
    """Read on until the end, or until enough is wrong to refuse the whole."""
    lines, rules = Lines(), _rules(gateway)

    def keep(cut: Callable[[], Iterable[RawLine]]) -> None:
        spool.add(read(line, rules) for line in cut())

    async for piece in gathered(request.stream(), _CHUNK):
        await gateway.on_picture(keep, partial(lines.feed, piece))
        if spool.refused:
            return
    await gateway.on_picture(keep, lines.close)


async def _steered(
    gateway: Gateway,
    request: Request,
    batch_id: UUID,
    caller: Principal,
    move: Callable[[Connection, UUID, UUID], None] | None,
) -> schema.Batch:
    """The batch after the move, or as it is."""

    def look(connection: Connection) -> batches.BatchView:
        if move is not None:
            move(connection, batch_id, caller.owner_id)
        return batches.get(connection, batch_id, caller.owner_id)

    async with gateway.engine.begin() as connection:
        view = await connection.run_sync(look)
    return batch_json(view, request.scope["root_path"])


async def _streamed(
    gateway: Gateway,
    batch_id: UUID,
    caller: Principal,
    find_pages: Callable[[Connection, UUID], list[batches.Page]],
) -> StreamingResponse:
    async with gateway.engine.connect() as connection:
        await connection.run_sync(batches.require, batch_id, caller.owner_id)
        pages = await connection.run_sync(find_pages, batch_id)

    async def read(page: batches.Page) -> bytes:
        async with gateway.pages, gateway.engine.connect() as connection:
            return await connection.run_sync(batches.page_lines, batch_id, page)

    return ClosingResponse(read_ahead(read, pages, _AT_ONCE), JSON_LINES[0])
