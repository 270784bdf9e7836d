"""`Idempotency-Key`: a request that may be sent again and takes effect once.

As draft-ietf-httpapi-idempotency-key-header has it. What is kept of a request, and for how long, is told in
shared/idempotency.py.
"""

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.gateway.fingerprint import Fingerprint
from services.gateway.gateway import Current, Gateway
from shared import idempotency
from shared.access import Principal
from shared.errors import Conflict, GlammError, InvalidInput, KeyReused
from shared.idempotency import Answer, Claim, Kept
from shared.ids import uuid7
from shared.logs import get_logger

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
_BARE = re.compile(r"[!#-+\--:<-\[\]-~]{1,255}")

T = TypeVar("T")

log = get_logger(__name__)


async def _fresh_id() -> UUID:
    return uuid7()


NewId = Annotated[UUID, Depends(_fresh_id)]
"""For what a request makes. As the parameter `new_id` of a `repeatable` endpoint it is the same one each time that the
request is sent, so that a repetition finds what a gateway made that died before it had answered."""


@dataclass(frozen=True)
class _Sent:
    gateway: Gateway
    response: Response
    key: str | None


async def _sent(
    response: Response,
    gateway: Current,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            description="names this request, so that it can be sent again and takes effect once: a string in quotes, "
            "such as a UUID. The answer is kept for repetitions, for a day unless the service is set otherwise",
            examples=['"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
        ),
    ] = None,
) -> _Sent:
    return _Sent(gateway, response, idempotency_key)


def repeatable(
    *, secret_of: str | None = None, shows_id: bool = True
) -> Callable[[Callable[..., Awaitable[T]]], Callable[..., Awaitable[Any]]]:
    """An endpoint whose request may bring an Idempotency-Key. It takes `request` and `caller`, and maybe `new_id`.

    secret_of: what the request makes, where the answer shows a secret of it and so is not kept. A repetition is told
    that the thing is made. shows_id: `new_id` is what the thing is called.
    """

    def decorate(endpoint: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[Any]]:
        signature = inspect.signature(endpoint)
        made = secret_of if shows_id else None

        @wraps(endpoint)
        async def once(*, sent: _Sent, **arguments: Any) -> Any:
            if sent.key is None:
                return await endpoint(**arguments)
            request: Request = arguments["request"]
            fingerprint = Fingerprint(request.headers.get("content-type", ""), request.scope["query_string"])
            claimed = await _claim(sent.gateway, request, arguments["caller"], _parsed(sent.key))
            if isinstance(claimed, Kept):
                return await _repeated(request, fingerprint, claimed, secret_of, made)
            request.state.fingerprint = fingerprint
            arguments["request"] = Request(request.scope, fingerprint.passing(request.receive))
            if "new_id" in arguments:
                arguments["new_id"] = claimed.resource_id
            async with _under_way(sent.gateway, claimed):
                answer = _rendered(await endpoint(**arguments), request, sent.response)
                await fingerprint.finish(request.receive)
                kept = Answer(
                    answer.status_code,
                    {name: value for name, value in answer.headers.items() if name != "content-length"},
                    bytes(answer.body) if secret_of is None else None,
                )
                digest = fingerprint.digest()
                await _write(sent.gateway, idempotency.keep, claimed.token, digest, fingerprint.length, kept)
            return answer

        asked = inspect.Parameter("sent", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[_Sent, Depends(_sent)])
        once.__signature__ = signature.replace(parameters=[*signature.parameters.values(), asked])  # type: ignore[attr-defined]
        return once

    return decorate


def digest_so_far(request: Request) -> bytes | None:
    """By what a request with a key is known, once its endpoint has read the body; None without one."""
    fingerprint: Fingerprint | None = getattr(request.state, "fingerprint", None)
    return None if fingerprint is None else fingerprint.digest()


def _parsed(header: str) -> str:
    """The key, written as the draft has it or, as many clients do, without quotes. Raises InvalidInput."""
    quoted, bare = _STRING.fullmatch(header), _BARE.fullmatch(header)
    if quoted:
        return re.sub(r"\\(.)", r"\1", quoted[1])
    if bare:
        return header
    raise InvalidInput(HEADER, "The key cannot be read.", 'Send 1 to 255 ASCII characters in quotes: "8e03978e-40d5".')


async def _claim(gateway: Gateway, request: Request, caller: Principal, key: str) -> Claim | Kept:
    operation = f"{request.method} {request.scope['path'].removeprefix(request.scope['root_path'])}"
    lifetime = timedelta(seconds=gateway.settings.idempotency_key_seconds)
    async with gateway.engine.begin() as connection:
        return await connection.run_sync(idempotency.claim, caller.owner_id, key, operation, lifetime)


async def _repeated(
    request: Request, fingerprint: Fingerprint, kept: Kept, secret_of: str | None, made: str | None
) -> Response:
    """The first answer, if this is the same request. No more of it is read than the first one had."""
    await fingerprint.finish(request.receive, kept.request_bytes)
    if (fingerprint.digest(), fingerprint.length) != (kept.fingerprint, kept.request_bytes):
        raise KeyReused("The key came with another body first.")
    if secret_of is not None:
        raise Conflict(
            f"This request has made {f'the {made} {kept.resource_id}' if made else 'a secret'}, and showed it then.",
            field=HEADER,
            remedy=f"If it was lost, make another {secret_of} with an Idempotency-Key of its own.",
        )
    return Response(kept.answer.body, kept.answer.status, {**kept.answer.headers, REPLAYED: "true"})


@asynccontextmanager
async def _under_way(gateway: Gateway, claim: Claim) -> AsyncIterator[None]:
    """Keep the claim while the block runs; an error leaves it to be taken, or frees the key where nothing was done."""
    renewing = asyncio.create_task(_renew(gateway, claim))
    try:
        yield
    except BaseException as error:
        refused = claim.first and isinstance(error, GlammError) and error.status < 500
        ending = idempotency.forget if refused else idempotency.let_go
        try:
            await _write(gateway, ending, claim.token)
        except (OperationalError, InterfaceError, PoolTimeout) as away:
            log.warning("idempotency_key.left", error=str(away).splitlines()[0])
        raise
    finally:
        renewing.cancel()


async def _renew(gateway: Gateway, claim: Claim) -> None:
    while True:
        await asyncio.sleep(idempotency.LEASE.total_seconds() / 3)
        try:
            await _write(gateway, idempotency.renew, claim.token)
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            log.warning("idempotency_key.not_renewed", error=str(error).splitlines()[0])


async def _write(gateway: Gateway, change: Callable[..., None], *values: Any) -> None:
    def run(connection: Connection) -> None:
        change(connection, *values)

    async with gateway.engine.begin() as connection:
        await connection.run_sync(run)


def _rendered(answer: Any, request: Request, response: Response) -> Response:
    """What FastAPI would make of it, made here so that its bytes can be kept."""
    if isinstance(answer, Response):
        return answer
    assert isinstance(answer, BaseModel)
    status = response.status_code or request.scope["route"].status_code or 200
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Response(answer.model_dump_json(), status, headers, "application/json")
