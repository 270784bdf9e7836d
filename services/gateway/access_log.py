"""The outermost layer of the app: a request id, one log line a request, and a last catch for what nobody foresaw."""

import re
import time
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway import errors
from services.gateway.rates import Rate
from shared.ids import uuid7
from shared.logs import get_logger

REQUEST_ID = "X-Request-ID"
_SANE_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_QUIET = frozenset({"/healthz", "/readyz"})

log = get_logger(__name__)


class AccessLog:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _SANE_ID.fullmatch(given) else uuid7().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status, received, sent = 0, 0, 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                rate: Rate | None = scope.get("state", {}).get("rate")
                if rate is not None:
                    headers.update(rate.headers())
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counted_receive, counted_send)
        except Exception:
            log.exception("request.failed", method=scope["method"], path=scope["path"])
            if not status:
                await errors.unexpected()(scope, receive, counted_send)
        finally:
            write = log.debug if scope["path"] in _QUIET and status == HTTPStatus.OK else log.info
            write(
                "request.answered",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round((time.perf_counter() - started) * 1000, 1),
                received=received,
                sent=sent,
                client=scope["client"][0] if scope.get("client") else None,
            )
