"""`Prefer: wait=n` (RFC 7240): how long a caller would rather wait than ask again."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request, Response, status

from services.gateway.gateway import Current, Gateway
from shared import jobs
from shared.access import Principal

# A quote that nobody closes runs to the end, so that no part of a header is read twice.
_PREFERENCE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*(?:"|$))+')
_LONGEST = 1000
_WAIT = re.compile(r'\s*wait\s*=\s*(?:([0-9]{1,9})|"([0-9]{1,9})")\s*(?:;.*)?', re.IGNORECASE)


async def _wait(
    request: Request,
    gateway: Current,
    prefer: Annotated[
        str | None,
        Header(
            description="`wait=n`: answer when the job has finished, or after n seconds; cut to the server's limit",
            examples=["wait=30"],
        ),
    ] = None,
) -> int | None:
    """Whole seconds, within the server's limit; None without such a preference. One that cannot be read is no error."""
    for header in request.headers.getlist("prefer"):
        for preference in _PREFERENCE.findall(header[:_LONGEST]):
            if found := _WAIT.fullmatch(preference):
                return min(int(found[1] or found[2]), int(gateway.settings.max_wait_seconds))
    return None


PreferredWait = Annotated[int | None, Depends(_wait)]


async def waited(
    gateway: Gateway, caller: Principal, view: jobs.JobView, seconds: int | None, response: Response
) -> jobs.JobView:
    """The job after the time that the caller would wait; the response says what it is: finished (200) or not (202)."""
    if seconds is not None:
        response.headers["Preference-Applied"] = f"wait={seconds}"
        view = await gateway.finished_job(view.id, caller.owner_id, seconds)
    response.status_code = status.HTTP_200_OK if view.state.finished else status.HTTP_202_ACCEPTED
    return view
