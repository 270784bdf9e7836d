"""Who asks: the owner whose key came with the request, once the key has the scope that a route needs."""

from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.gateway.gateway import Current
from shared.access import Principal
from shared.errors import Forbidden
from shared.scopes import Scope

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="api_key",
    description="`Authorization: Bearer glamm_…`. Not asked for while the service listens on loopback and has no keys.",
)


def _requires(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    async def caller(
        request: Request,
        gateway: Current,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> Principal:
        principal = await gateway.keyring.principal(credentials.credentials if credentials is not None else None)
        structlog.contextvars.bind_contextvars(owner=principal.owner)
        # Before it is judged, for every refusal tells it as well, and counts.
        request.state.rate = rate = await gateway.rates.take(principal)
        rate.require()
        if scope not in principal.scopes:
            raise Forbidden(
                f"The API key may not do this: it lacks the scope {scope}.",
                field="Authorization",
                remedy=f"Use a key with the scope {scope}.",
            )
        return principal

    return caller


Reader = Annotated[Principal, Depends(_requires(Scope.READ))]
Writer = Annotated[Principal, Depends(_requires(Scope.WRITE))]
Admin = Annotated[Principal, Depends(_requires(Scope.ADMIN))]
