"""Growing text from the engine's thread to a listener on a real broker."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from redis.exceptions import RedisError

from shared import growing_text
from workers.llm.telling import Teller, Telling

SECONDS = 300  # how long a test waits for what must happen; never how long it takes


@contextmanager
def listening(broker_url: str, job_id: UUID) -> Iterator[Callable[[], dict[int, str]]]:
    """The next message about the job."""
    with redis.Redis.from_url(broker_url) as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(growing_text.channel(job_id))

        def message() -> dict[int, str]:
            found: list[Any] = []
            until(lambda: bool(found.append(pubsub.get_message(timeout=0.05)) or found[-1]))
            return growing_text.decode(found[-1]["data"])

        yield message


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_listener_gets_text_as_it_will_be_shown(broker_url: str) -> None:
    job_id = uuid4()
    telling = Teller(broker_url).follow(job_id)
    with listening(broker_url, job_id) as message:
        until(lambda: telling.wants(0, ended=False))
        telling.grown(0, "<p> A cat </p> [SEG] sleeps .")
        telling.grown(1, "Ein B\N{REPLACEMENT CHARACTER}")
        received: dict[int, str] = {}
        until(lambda: bool(received.update(message()) or received.keys() == {0, 1}))
        assert received == {0: "A cat sleeps.", 1: "Ein B"}


def test_nothing_is_wanted_while_nobody_listens(broker_url: str) -> None:
    teller, heard = Teller(broker_url), uuid4()
    alone, telling = teller.follow(uuid4()), teller.follow(heard)
    with listening(broker_url, heard):
        until(lambda: telling.wants(0, ended=False))
        assert not alone.wants(0, ended=True)
    until(lambda: not telling.wants(0, ended=True))


def test_text_waits_until_the_one_before_is_taken_and_the_last_does_not() -> None:
    telling = Telling(uuid4(), Teller("unix:///nowhere"))
    telling.heard = True
    assert telling.wants(0, ended=False)
    telling.grown(0, "A")
    assert not telling.wants(0, ended=False)
    assert telling.wants(1, ended=False)
    assert telling.wants(0, ended=True)
    telling.grown(0, "A cat.")
    assert telling.take() == {0: "A cat."}
    assert telling.take() == {}


def test_the_last_text_is_told_after_the_job_has_left_the_engine(broker_url: str) -> None:
    job_id = uuid4()
    teller = Teller(broker_url)
    in_engine = [teller.follow(job_id)]
    with listening(broker_url, job_id) as message:
        until(lambda: in_engine[0].wants(0, ended=False))
        in_engine.pop().grown(0, "A cat.")
        assert message() == {0: "A cat."}
    until(lambda: not teller._live)


def test_what_an_absent_broker_was_not_told_is_told_when_it_is_back(broker_url: str) -> None:
    job_id, teller = uuid4(), Teller("unix:///nowhere")
    telling = Telling(job_id, teller)
    for text in ("A", "A cat."):
        telling.grown(0, text)
        with pytest.raises(RedisError):
            teller._tell()
    teller._broker = redis.Redis.from_url(broker_url)
    with listening(broker_url, job_id) as message:
        until(lambda: bool(teller._broker.pubsub_numsub(growing_text.channel(job_id))[0][1]))
        teller._tell()
        assert message() == {0: "A cat."}
    assert not teller._untold
