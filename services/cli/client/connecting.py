"""The HTTP client beneath a client of the service."""

from collections.abc import Generator
from typing import TypeVar

import httpx

from shared.errors import InvalidInput

_CONNECTIONS = 64

Http = TypeVar("Http", httpx.Client, httpx.AsyncClient)


class _Bearer(httpx.Auth):
    """Shows the API key; a request that is sent without this shows nothing."""

    def __init__(self, api_key: str) -> None:
        self._header = f"Bearer {api_key}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


def connected(kind: type[Http], url: str, api_key: str | None, timeout: float) -> Http:
    """It connects when it is used. Raises InvalidInput for what is no URL."""
    try:
        return kind(
            base_url=url,
            auth=None if api_key is None else _Bearer(api_key),
            timeout=httpx.Timeout(timeout, connect=5.0),
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
        )
    except httpx.InvalidURL as error:
        raise InvalidInput("url", f"{url!r} is not a URL: {error}.", "Write http://HOST:PORT.") from None
