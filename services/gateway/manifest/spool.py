"""The jobs of a manifest on their way to the database: checked one by one, and kept in a file until all are there.

So a client that sends slowly holds no connection to the database, and a manifest of any length no memory.
"""

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from shared.batches import INCOMING, Line, LineFault
from shared.errors import InvalidInput, TooLarge
from shared.ids import uuid7
from shared.tasks import Box

_IN_MEMORY = 4 * 1024 * 1024
_BLOCK = 256 * 1024
MOST_FAULTS = 100
"""So many wrong lines end the reading of a manifest that is refused for any."""
_MOST_KEPT_FAULTS = 100_000


class Spool:
    """Rows in the form of COPY's CSV, in the order of INCOMING; and the lines that were wrong.

    most: of rows. skip: leave wrong lines out and go on.
    """

    def __init__(self, most: int, skip: bool) -> None:
        self._most, self._skip = most, skip
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+b")  # noqa: SIM115 -- closed by `close`
        self.faults: list[LineFault] = []
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def refused(self) -> bool:
        """So much is wrong that reading on would tell nobody more."""
        return len(self.faults) >= (_MOST_KEPT_FAULTS if self._skip else MOST_FAULTS)

    def add(self, lines: Iterable[Line | LineFault]) -> None:
        """Keep them. Raises TooLarge when there are too many, InvalidInput when too many are wrong to be reported."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        for line in lines:
            if isinstance(line, LineFault):
                self.faults.append(line)
                if self._skip and self.refused:
                    raise InvalidInput(
                        "body", f"{_MOST_KEPT_FAULTS:,} lines are wrong.", "See whether this is a manifest at all."
                    )
            else:
                writer.writerow(_row(line))
                self.rows += 1
        if self.rows > self._most:
            raise TooLarge("body", f"The batch has more than {self._most:,} jobs.", f"Send at most {self._most:,}.")
        self._file.write(buffer.getvalue().encode())

    def blocks(self) -> Iterator[bytes]:
        """What was kept."""
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            yield block


def _row(line: Line) -> tuple[object, ...]:
    right, bottom = _extent(line.ask.boxes)
    row: dict[str, object] = {
        "line": line.number,
        "id": uuid7(),
        "custom_id": line.custom_id,
        "image_id": line.image_id,
        "source": line.source,
        "task": line.ask.task.value,
        "inputs": json.dumps(line.ask.inputs(), ensure_ascii=False),
        "box_right": right,
        "box_bottom": bottom,
    }
    return tuple(row[name] for name in INCOMING)


def _extent(boxes: Iterable[Box]) -> tuple[float, float]:
    """How far right and down the boxes reach, in pixels; 0 without boxes."""
    corners = [(box[2], box[3]) for box in boxes]
    return max((x for x, _ in corners), default=0.0), max((y for _, y in corners), default=0.0)
