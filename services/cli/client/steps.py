"""What a call does, without doing it: requests to be sent and pauses to be made, for a client that blocks or awaits.

A call is a generator that yields such steps and is sent the answers. So how often and how long something is tried,
asked or waited for is written once, and how to wait is all that the two clients differ in.
"""

import random
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import httpx

from services.cli.client.errors import Busy, Unreachable
from services.cli.client.requests import Request

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Is sent the answer, which is one of success. streamed: without its body, which is still to be read."""

    request: Request
    streamed: bool = False


@dataclass(frozen=True)
class Pause:
    seconds: float


Steps: TypeAlias = Generator[Send | Pause, httpx.Response | None, T]


def patiently(send: Send, patience: float) -> Steps[httpx.Response]:
    """Try for `patience` seconds what has no other effect when it is sent again. Raises Refused and Unreachable."""
    deadline = time.monotonic() + patience
    for delay in _delays():
        try:
            answer = yield send
        except Unreachable:
            if time.monotonic() + delay > deadline:
                raise
        except Busy as busy:
            delay = max(delay, busy.retry_after)
            if time.monotonic() + delay > deadline:
                raise
        else:
            assert answer is not None
            return answer
        yield Pause(delay)
    raise AssertionError("delays never end")


def _delays() -> Iterator[float]:
    """Growing pauses with a random part, so that many clients do not come back at once."""
    delay = 0.1
    while True:
        yield delay * random.uniform(0.7, 1.3)
        delay = min(2 * delay, 3.0)
