"""A spool stops as soon as there is too much, wherever its lines come from."""

from collections.abc import Iterator

import pytest

from services.gateway.manifest.spool import Spool
from shared.batches import MOST_INVALID, Line, LineFault
from shared.errors import InvalidInput, TooLarge
from shared.tasks import Ask, Task


def endless(taken: list[int]) -> Iterator[Line]:
    number = 0
    while True:
        number += 1
        taken.append(number)
        yield Line(number, None, "0" * 64, None, Ask(Task.GCG))


def test_no_more_is_taken_than_a_batch_may_have() -> None:
    taken: list[int] = []
    with Spool(10, skip=False) as spool, pytest.raises(TooLarge):
        spool.add(endless(taken))
    assert len(taken) == 11


def test_so_many_wrong_lines_are_left_out_and_no_more() -> None:
    fault = LineFault(1, None, InvalidInput("task", "There is none.", "Send one.").to_problem())
    with Spool(10, skip=True) as spool:
        spool.add(fault for _ in range(MOST_INVALID))
        with pytest.raises(InvalidInput, match="lines are wrong"):
            spool.add([fault])


def test_rows_come_back_whole_however_many_there_are() -> None:
    line = Line(1, "a name", "0" * 64, None, Ask(Task.GCG))
    with Spool(20_000, skip=False) as spool:
        spool.add(line for _ in range(20_000))
        assert b"".join(spool.blocks()).count(b"a name") == 20_000
