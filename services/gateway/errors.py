"""Every error as problem+json: the one place where an exception becomes a response."""

import math
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match

from services.gateway import findings
from shared.errors import (
    PROBLEM_TYPE,
    GlammError,
    InvalidInput,
    LimitReached,
    Overloaded,
    Problem,
    Unauthenticated,
    Unavailable,
    UnderWay,
)
from shared.logs import get_logger
from shared.tasks import Task

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
_MOST_NAMED, _LONGEST_NAME = 10, 200
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

log = get_logger(__name__)


def install(app: FastAPI) -> None:
    """Let the app answer every error with a problem."""
    app.add_exception_handler(GlammError, _on_own)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(kind, _on_database)


def response(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(problem.to_json(), problem.status, headers=headers, media_type=MEDIA_TYPE)


def unexpected() -> JSONResponse:
    """For an error that nobody foresaw: what it was stands in the log and not in the response."""
    error = GlammError("The gateway failed in a way that it did not foresee.", remedy="Try again; then report it.")
    return response(error.to_problem())


def from_pydantic(error: ValidationError, *, of_tasks: bool = False, whole: str = "body") -> InvalidInput:
    """of_tasks: what was read is one of several requests, told apart by their task.

    whole: the field that is to blame for all of it.
    """
    return _invalid_input(error.errors(include_url=False), prefixed=of_tasks, whole=whole)


def field_name(given: str) -> str:
    """What clients send as the name of a field may be of any length, and hold what no database stores."""
    return given.replace("\0", "\N{REPLACEMENT CHARACTER}")[:_LONGEST_NAME]


def _invalid_input(errors: Sequence[ErrorDetails], *, prefixed: bool, whole: str) -> InvalidInput:
    """Pydantic's findings as one error: about the first field at fault, with the others named in its detail.

    prefixed: each location begins with where the field stands (path, query) or with the task that it belongs to.
    """
    first, *others = errors
    name = _field(first, prefixed, whole)
    detail, remedy = findings.told(first, name, whole)
    if others:
        also = list(dict.fromkeys(_field(error, prefixed, whole) for error in others[:_MOST_NAMED]))
        more = " and more" if len(others) > _MOST_NAMED else ""
        detail += f" Also at fault: {', '.join(also)}{more}."
    return InvalidInput(name, detail, remedy)


def _field(error: ErrorDetails, prefixed: bool, whole: str) -> str:
    """`("vqa", "boxes", 0, 2)` → `boxes[0][2]`. Which task's fields they are says the request itself."""
    if error["type"].startswith("union_tag"):
        return ".".join([*(str(part) for part in error["loc"]), "task"])
    parts = error["loc"][1:] if prefixed else error["loc"]
    if parts[:1] == ("job",) and parts[1:2] and parts[1] in set(Task):
        # Which of the union it is, inside of a batch's request.
        parts = (parts[0], *parts[2:])
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return field_name(name.lstrip(".")) or whole


async def _on_own(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GlammError)
    problem = error.to_problem()
    if isinstance(error, Unauthenticated):
        return response(problem, {"WWW-Authenticate": "Bearer"})
    if isinstance(error, LimitReached | UnderWay) and error.retry_after is not None:
        return response(problem, {"Retry-After": str(math.ceil(error.retry_after))})
    if problem.status < 500:
        return response(problem)
    log.warning("request.refused", type=problem.type, detail=problem.detail)
    wait = math.ceil(error.retry_after) if isinstance(error, Overloaded) else RETRY_AFTER_SECONDS
    return response(problem, {"Retry-After": str(wait)} if problem.status == 503 else None)


async def _on_validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return response(_invalid_input(error.errors(), prefixed=True, whole="request").to_problem())


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        problem = Problem(
            f"{PROBLEM_TYPE}not-found",
            "Not found",
            404,
            f"There is nothing at {request.url.path}.",
            remedy="See /docs.",
        )
    elif error.status_code == 405:
        allowed = ", ".join(_methods(request))
        detail = f"{request.method} is not possible at {request.url.path}."
        problem = Problem(
            f"{PROBLEM_TYPE}method-not-allowed", "Method not allowed", 405, detail, remedy=f"Use {allowed}."
        )
        return response(problem, {"Allow": allowed})
    else:
        problem = Problem("about:blank", str(error.detail), error.status_code, str(error.detail))
    return response(problem, error.headers)


def _methods(request: Request) -> list[str]:
    """What is possible at the path; Starlette names the methods of one of its routes alone."""
    routes: list[BaseRoute] = request.app.routes
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    return [m for m, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def _on_disconnect(_: Request, error: Exception) -> JSONResponse:
    """Nobody is left to read this; it keeps a caller that hung up from counting as a failure of ours."""
    assert isinstance(error, ClientDisconnect)
    return response(InvalidInput("body", "The connection closed before the body ended.", "Send it again.").to_problem())


async def _on_database(request: Request, error: Exception) -> JSONResponse:
    log.warning("database.away", error=str(getattr(error, "orig", None) or error))
    return await _on_own(request, Unavailable("database"))
