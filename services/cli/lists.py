"""Lists of what a service has: rows where they fit, and never less than all that there is to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from services.cli.terminal import say

_ANY_WIDTH = 100_000
_LAST = 24
"""Characters that the last column has at least, which often is a sentence; it takes as many lines as it needs."""


@dataclass(frozen=True)
class Listing:
    """Things that have an `id`, a row each, under these headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str | Text]]

    def show(self, out: Console) -> None:
        """As a table; in a terminal that is too narrow for it, the id of each, and the rest below it."""
        rows = [[_text(cell) for cell in row] for row in self.rows]
        if out.is_terminal and _width(self._table(rows, last=_LAST), out) > out.width:
            for row in rows:
                _show_below_its_id(dict(zip(self.headings, row, strict=True)), out)
        else:
            show_table(self._table(rows), out)

    def _table(self, rows: Sequence[Sequence[Text]], last: int | None = None) -> Table:
        """last: the width of the last column at most."""
        *before, end = self.headings
        # In parts an id is of no use, and a column of a few characters cannot be read.
        columns = [*(Column(heading, no_wrap=True) for heading in before), Column(end, overflow="fold", max_width=last)]
        table = Table(*columns, box=None)
        for row in rows:
            table.add_row(*row)
        return table


def show_table(table: Table, out: Console) -> None:
    """As wide as the terminal is; elsewhere a row is a line, however wide, for other programs to read."""
    if out.is_terminal:
        out.print(table)
        return
    for line in out.render_lines(table, out.options.update(width=_width(table, out))):
        say(out, "".join(segment.text for segment in line).rstrip())


def moment(time: datetime) -> str:
    """In the time of this machine."""
    return f"{time.astimezone():%Y-%m-%d %H:%M}"


def _show_below_its_id(told: dict[str, Text], out: Console) -> None:
    out.print(told.pop("id"), soft_wrap=True)
    lines = [Text()]
    for heading, cell in told.items():
        if not cell:
            continue
        part = Text.assemble((f"{heading} ", "dim"), cell)
        if not lines[-1]:
            lines[-1] = part
        elif lines[-1].cell_len + 2 + part.cell_len <= out.width - 2:
            lines[-1] = Text("  ").join([lines[-1], part])
        else:
            lines.append(part)
    for line in lines:
        out.print(Padding(line, (0, 0, 0, 2)))


def _width(table: Table, out: Console) -> int:
    """That it would take if it could."""
    return Measurement.get(out, out.options.update(width=_ANY_WIDTH), table).maximum


def _text(cell: str | Text) -> Text:
    """In one line, and nothing of it taken for markup."""
    text = cell if isinstance(cell, Text) else Text(cell)
    return Text(" ".join(text.plain.split()), style=text.style)
