"""Ids sort by when they were made, whatever the clock does."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import ids
from shared.ids import uuid7


def test_ids_are_version_7_and_bear_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after + 1


def test_ids_of_one_thread_ascend_and_ids_of_all_threads_differ() -> None:
    def make(_: int) -> list[uuid.UUID]:
        return [uuid7() for _ in range(2000)]

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(make, range(4)))
    assert all(part == sorted(part) for part in parts)
    assert len({made for part in parts for made in part}) == 8000


def test_ids_ascend_while_the_clock_stands_or_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = uuid7()
    monkeypatch.setattr(ids.time, "time_ns", lambda: 0)
    following = [uuid7() for _ in range(100)]
    assert following == sorted(following)
    assert first < following[0]


def test_ids_ascend_when_a_millisecond_runs_out_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids.secrets, "randbits", lambda bits: (1 << bits) - 1)
    monkeypatch.setattr(ids, "_clock", ids._Clock())
    made = [uuid7() for _ in range(3)]
    assert made == sorted(set(made))
    assert all(one.version == 7 for one in made)
