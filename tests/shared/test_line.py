"""Who is let in when: the urgent first, equals as they came, and the reserve for nobody else."""

from hypothesis import given
from hypothesis import strategies as st

from shared.line import Line


@given(
    arrivals=st.lists(st.lists(st.booleans(), max_size=5), max_size=8),
    free=st.integers(-3, 4),
    reserve=st.integers(0, 3),
)
def test_turns(arrivals: list[list[bool]], free: int, reserve: int) -> None:
    """arrivals: for each round, who comes, as whether they are urgent; then as many are let in as there are places."""
    line: Line[tuple[int, bool]] = Line()
    waiting: list[tuple[int, bool]] = []
    number = 0
    for arriving in arrivals:
        for urgent in arriving:
            line.join((number, urgent), urgent)
            waiting.append((number, urgent))
            number += 1
        in_turn = sorted(waiting, key=lambda entry: (not entry[1], entry[0]))
        assert list(line) == in_turn
        taken = line.take(free, reserve)
        assert taken == in_turn[: len(taken)]
        left = in_turn[len(taken) :]
        places = free + reserve if left and left[0][1] else free
        assert not left or len(taken) >= places
        assert len(taken) <= max(0, free + reserve)
        assert sum(not urgent for _, urgent in taken) <= max(0, free)
        assert all(urgent for _, urgent in taken[max(0, free) :])
        waiting = [entry for entry in waiting if entry not in taken]
        assert len(line) == len(waiting)


def test_who_leaves_is_not_let_in() -> None:
    line: Line[int] = Line()
    for number in range(6):
        line.join(number, urgent=number % 2 == 0)
    line.remove(lambda number: number in (2, 3))
    assert line.take(3, 1) == [0, 4, 1]
    line.clear()
    assert line.take(9, 9) == []
