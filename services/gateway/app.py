"""The ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.gateway import errors, openapi
from services.gateway.access_log import AccessLog
from services.gateway.gateway import opened
from services.gateway.routes import (
    batches,
    conversations,
    exports,
    health,
    images,
    jobs,
    keys,
    pictures,
    uploads,
    webhooks,
)
from shared.settings import Settings
from shared.version import VERSION

_ROUTERS = (
    images.router,
    uploads.router,
    jobs.router,
    pictures.router,
    batches.router,
    exports.router,
    conversations.router,
    keys.router,
    webhooks.router,
    health.router,
)

_DESCRIPTION = """Images annotated with words tied to pixels, as jobs.

Store an image, queue a job on it, and ask for the job until it is finished: the answer is text whose phrases carry
masks. Or follow the job's events, or have webhooks told of all of them. Every error is `application/problem+json`
(RFC 9457) with a stable `type`, the `field` at fault and a `remedy`.

A request whose answer got lost can be sent again: `PUT /jobs/{id}` under an id of your own, and every `POST` that makes
something with an `Idempotency-Key`.

A request speaks for an owner by an API key, `Authorization: Bearer glamm_…`. What belongs to one owner is not there for
any other. A service that listens on loopback and has no keys asks for none.
"""


def create_app(settings: Settings) -> FastAPI:
    """The gateway; it connects to its servers once it is started, and only when it needs them."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings) as gateway:
            app.state.gateway = gateway
            yield

    app = FastAPI(title="GLaMM", version=VERSION, description=_DESCRIPTION, lifespan=lifespan)
    for router in _ROUTERS:
        app.include_router(router)
    errors.install(app)
    openapi.install(app, _ROUTERS)
    app.add_middleware(AccessLog)
    return app
