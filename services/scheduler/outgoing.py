"""One HTTP request to somebody else's server: judged where it connects, bounded in time, and never led elsewhere."""

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpcore
import httpx

from shared import addresses
from shared.errors import InvalidInput, InvalidSettings
from shared.webhooks.deliveries import Tried

SECONDS = 10.0
"""For the whole of it: name, connection, TLS, request and answer."""
KEPT_BYTES = 500
"""Of what the receiver says."""
_MOST_BYTES = 64 * 1024
"""An answer that is longer is not read to its end."""


class Sender:
    """Posts, many at once. An asynchronous context manager, for one event loop.

    There are no proxies, no redirects, no cookies: what is asked of the given address is all that is asked. Raises
    InvalidSettings where the environment names certificates that cannot be read.
    """

    def __init__(self, allow_private: bool, most_at_once: int) -> None:
        # Looking up a name cannot be interrupted, so there is a thread for each that may hang in it.
        self._names = ThreadPoolExecutor(most_at_once, "name")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_authorities(),
            max_connections=most_at_once,
            keepalive_expiry=5.0,
            network_backend=_Judging(self._names, allow_private),
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.__aexit__(kind, error, trace)
        self._names.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Tried:
        """What came of it; nothing that befalls a request is raised."""
        at, begun = datetime.now(UTC), time.monotonic()
        status, said, error = None, b"", None
        try:
            async with (
                asyncio.timeout(SECONDS),
                self._pool.stream("POST", url, headers=list(headers.items()), content=body) as response,
            ):
                said = await _beginning(response)
                status = response.status
        except TimeoutError:
            error = f"There was no answer within {SECONDS:g} s."
        except InvalidInput as refused:
            error = refused.detail
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as failed:
            error = f"{type(failed).__name__}: {failed}".removesuffix(": ")
        return Tried(
            at=at.isoformat(),
            ms=round((time.monotonic() - begun) * 1000, 1),
            status=status,
            error=error,
            # Postgres keeps no null characters.
            response=said.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}"),
        )


def _authorities() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise InvalidSettings(
            f"The certificates of authorities cannot be read: {error}.",
            field="SSL_CERT_FILE",
            remedy="Let SSL_CERT_FILE or SSL_CERT_DIR name what is there, or unset it.",
        ) from error


async def _beginning(response: httpcore.Response) -> bytes:
    """An answer that is read to its end leaves its connection for the next request; a long one does not."""
    kept, read = b"", 0
    async for chunk in response.aiter_stream():
        kept += chunk[: KEPT_BYTES - len(kept)]
        read += len(chunk)
        if read > _MOST_BYTES:
            break
    return kept


class _Judging(httpcore.AsyncNetworkBackend):
    """Resolves a name once, judges what it resolves to, and connects to that. TLS is still with the name."""

    def __init__(self, names: ThreadPoolExecutor, allow_private: bool) -> None:
        self._names = names
        self._allow_private = allow_private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises InvalidInput, or what the last of the addresses raised."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._names, addresses.permitted, host, port, "url", self._allow_private)
        *others, last = found
        for address in others:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await self._network.connect_tcp(last, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
