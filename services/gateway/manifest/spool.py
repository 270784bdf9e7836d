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

from shared.batches import INCOMING, MOST_INVALID, Line, LineFault, too_many_invalid
from shared.errors import TooLarge
from shared.ids import uuid7
from shared.tasks import Box

_IN_MEMORY = 4 * 1024 * 1024
_BLOCK = 256 * 1024
_to_json = json.JSONEncoder(ensure_ascii=False).encode
MOST_FAULTS = 100
"""So many wrong lines end the reading of a manifest that is refused for any."""


class Spool:
    """Rows in the form of COPY's CSV, in the order of INCOMING; and the lines that were wrong.

    most: of rows. skip: leave wrong lines out and go on.
    """

    def __init__(self, most: int, skip: bool) -> None:
        self._most, self._skip = most, skip
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+b")  # noqa: SIM115 -- closed by `close`
        self._buffer = io.StringIO()
        # Of what ends a line the writer puts into quotes what stands in a field: a carriage return, too.
        self._rows = csv.writer(self._buffer, lineterminator="\r\n")
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
        return len(self.faults) >= (MOST_INVALID + 1 if self._skip else MOST_FAULTS)

    def add(self, lines: Iterable[Line | LineFault]) -> None:
        """Keep them. Raises TooLarge when there are too many, InvalidInput when too many are wrong to be reported."""
        for line in lines:
            if isinstance(line, LineFault):
                self.faults.append(line)
                if self._skip and self.refused:
                    raise too_many_invalid()
                continue
            self._rows.writerow(_row(line))
            self.rows += 1
            if self.rows > self._most:
                raise TooLarge("body", f"The batch has more than {self._most:,} jobs.", f"Send at most {self._most:,}.")
            if self._buffer.tell() > _BLOCK:
                self._flush()

    def blocks(self) -> Iterator[bytes]:
        """What was kept."""
        self._flush()
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            yield block

    def _flush(self) -> None:
        self._file.write(self._buffer.getvalue().encode())
        self._buffer.seek(0)
        self._buffer.truncate()


def _row(line: Line) -> tuple[object, ...]:
    right, bottom = _extent(line.ask.boxes)
    row: dict[str, object] = {
        "line": line.number,
        "id": uuid7(),
        "custom_id": line.custom_id,
        "image_id": line.image_id,
        "source": line.source,
        "task": line.ask.task.value,
        "inputs": _to_json(line.ask.inputs()),
        "box_right": right,
        "box_bottom": bottom,
    }
    return tuple(row[name] for name in INCOMING)


def _extent(boxes: Iterable[Box]) -> tuple[float, float]:
    """How far right and down the boxes reach, in pixels; 0 without boxes."""
    corners = [(box[2], box[3]) for box in boxes]
    return max((x for x, _ in corners), default=0.0), max((y for _, y in corners), default=0.0)
