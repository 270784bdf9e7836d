"""Lists in terminals of several widths, and where other programs read them."""

import io

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.lists import Listing, show_table

ID = "01900000-0000-7000-8000-000000000000"
LONG = "photos/2026/june/" + "street-0001" * 6 + ".jpg"
WHY = "The upload is not what was declared: it has 1,201 bytes, not 1,202."
JOBS = Listing(
    ("line", "id", "custom_id", "task", "state", "why"),
    [("1", ID, "[b]a.png", "gcg", Text("succeeded", style="green"), ""), ("2", ID, LONG, "gcg", "failed", WHY)],
)


def shown(listing: Listing, width: int, terminal: bool = True) -> list[str]:
    out = io.StringIO()
    listing.show(Console(file=out, width=width, force_terminal=terminal, color_system=None))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_elsewhere_than_in_a_terminal_a_row_is_a_line() -> None:
    heading, first, second = shown(JOBS, 80, terminal=False)
    assert heading.split() == ["line", "id", "custom_id", "task", "state", "why"]
    assert first.split() == ["1", ID, "[b]a.png", "gcg", "succeeded"]
    assert second.split(maxsplit=5) == ["2", ID, LONG, "gcg", "failed", WHY]


def test_what_fits_a_terminal_is_a_table_whose_last_column_takes_the_lines_it_needs() -> None:
    heading, first, *second = shown(JOBS, 180)
    assert heading.split() == ["line", "id", "custom_id", "task", "state", "why"]
    assert (first.split()[1], second[0].split()[1:3]) == (ID, [ID, LONG])
    assert " ".join(line[heading.index("why") :] for line in second) == WHY
    assert len(second) > 1


@pytest.mark.parametrize("width", [40, 80, 120])
def test_in_a_terminal_that_is_too_narrow_for_it_nothing_is_lost(width: int) -> None:
    lines = shown(JOBS, width)
    assert max(map(len, lines)) <= width
    assert [n for n, line in enumerate(lines) if line == ID] == [0, lines.index(ID, 1)]
    told = [f"{ID} line 1 custom_id [b]a.png task gcg state succeeded"]
    told += [f"{ID} line 2 custom_id {LONG} task gcg state failed why {WHY}"]
    assert "".join("".join(lines).split()) == "".join("".join(told).split())


def test_a_table_is_not_broken_where_other_programs_read_it() -> None:
    table = Table("failed", "why", box=None)
    table.add_row("3", WHY * 3)
    out = io.StringIO()
    show_table(table, Console(file=out, width=80))
    assert WHY * 3 in out.getvalue()
