"""What long work says of itself where no terminal shows bars."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.progress import Progress

from services.cli.progress import bars


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def opened(clock, shown) -> Callable[[], Progress]:
    return lambda: bars(Console(file=shown, width=40), clock=clock)


def test_short_work_is_quiet_and_long_work_says_a_line_now_and_then(opened, clock, shown) -> None:
    with opened() as progress:
        row = progress.add_task("upload", total=12_000, state="")
        for seconds in (5.0, 4.0, 1.0, 9.0, 1.0):
            clock.now += seconds
            progress.update(row, advance=1000, state="2 broken" if seconds == 9.0 else "")
        progress.update(row, completed=12_000)
    assert shown.getvalue().splitlines() == ["upload 3,000/12,000", "upload 5,000/12,000"]


def test_a_line_tells_of_all_that_is_under_way_and_is_not_broken(opened, clock, shown) -> None:
    with opened() as progress:
        progress.add_task("all images", total=1, state="", visible=False)
        progress.add_task("there", total=3, completed=3, state="")
        progress.add_task("a [b]file[/b].jsonl", total=5, state="")
        shares = progress.add_task("coco", total=1.0, completed=0.4, state="building")
        clock.now += 10
        progress.advance(shares, 0.1)
    assert shown.getvalue() == "a [b]file[/b].jsonl 0/5, coco 50% building\n"


def test_a_terminal_shows_bars_that_are_gone_in_the_end(clock) -> None:
    shown = io.StringIO()
    with bars(Console(file=shown, force_terminal=True, width=80), clock=clock) as progress:
        progress.update(progress.add_task("upload", total=2, state="one"), advance=1)
    assert "upload" in shown.getvalue()
    assert "50%" in shown.getvalue()
