"""ETag and `If-None-Match`: who knows a thing as it is gets no more than that."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated

from fastapi import Depends, Header, Request, Response, status

from shared.version import VERSION

REVALIDATED = "private, no-cache"
"""Cache-Control of what may be kept, and is to be asked about each time."""
_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def etag(*parts: object) -> str:
    """A weak tag of what a thing follows from; another gateway may write the same thing with other bytes."""
    known = "\n".join(map(str, (VERSION, *parts)))
    return f'W/"{blake2b(known.encode(), digest_size=12).hexdigest()}"'


@dataclass(frozen=True)
class Known:
    """The tags that a request brings. anything: `*`, whatever there is."""

    tags: frozenset[str]
    anything: bool

    def __bool__(self) -> bool:
        return self.anything or bool(self.tags)

    def __contains__(self, tag: str) -> bool:
        return self.anything or _TAG.findall(tag)[0] in self.tags


async def _known(
    request: Request,
    if_none_match: Annotated[
        str | None, Header(description="ETags of earlier answers; 304 while one of them is still true")
    ] = None,
) -> Known:
    given = ", ".join(request.headers.getlist("if-none-match"))
    return Known(frozenset(_TAG.findall(given)), given.strip() == "*")


IfNoneMatch = Annotated[Known, Depends(_known)]


def not_modified(tag: str, cache_control: str) -> Response:
    return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"ETag": tag, "Cache-Control": cache_control})
