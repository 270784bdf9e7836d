"""A batch's results as a dataset, built by the scheduler and downloaded from the object store."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from services.gateway import examples, openapi
from services.gateway.callers import Reader
from services.gateway.gateway import Current
from services.gateway.presentation import export_json
from shared import exports, schema
from shared.exports import Format
from shared.states import ExportState

router = APIRouter(tags=["batches"])


_RETRY_AFTER_SECONDS = 2
_URL_TIME, _SHORTEST = timedelta(hours=1), timedelta(seconds=1)
_UNFINISHED = (ExportState.QUEUED, ExportState.RUNNING)
_RETRY_AFTER = {"description": "seconds until it is worth asking again", "schema": {"type": "integer"}}
_LOCATION = {"description": "where the file is, once it is there", "schema": {"type": "string"}}

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        **openapi.example("The file can be downloaded, or could not be built", examples.BUILT_EXPORT),
        "headers": {"Location": _LOCATION},
    },
    202: {
        **openapi.example("It is being built, or will be", examples.QUEUED_EXPORT),
        "model": schema.Export,
        "headers": {"Retry-After": _RETRY_AFTER},
    },
    **openapi.guarded(404, 422, 503),
}


@router.get("/batches/{batch_id}/export", responses=_RESPONSES)
async def get_export(
    batch_id: UUID,
    response: Response,
    gateway: Current,
    caller: Reader,
    form: Annotated[Format, Query(alias="format", description="of the dataset; docs/exports.md tells them apart")],
) -> schema.Export:
    """The succeeded jobs of a batch as one file, in a format that other tools read.

    The first request has the file built; repeat it until the answer is 200. `state` is then `succeeded`, and `url`,
    which is in `Location` as well, serves the file without an API key for an hour; or it is `failed`, and `error` says
    why. A failure is told for a minute; whoever asks after that has it tried again.

    The same file is given again as long as no further job of the batch has succeeded. Of a batch that still runs a file
    is good for a minute after it was built, whatever succeeds meanwhile.
    """
    fresh_for = timedelta(seconds=gateway.settings.export_fresh_seconds)
    async with gateway.engine.begin() as connection:
        export = await connection.run_sync(exports.request, batch_id, caller.owner_id, form, fresh_for)
    # A URL is signed for whoever asks now.
    response.headers["Cache-Control"] = "no-store"
    if export.state in _UNFINISHED:
        response.status_code = status.HTTP_202_ACCEPTED
        response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    url = None
    if export.object_key is not None and export.expires_at is not None:
        left = max(_SHORTEST, min(_URL_TIME, export.expires_at - datetime.now(UTC)))
        url = gateway.objects.presign_get(export.object_key, left, export.file_name)
        response.headers["Location"] = url
    return export_json(export, batch_id, url)
