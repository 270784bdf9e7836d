"""Parts of a file that are known before it is their turn: kept on disk until then."""

import csv
import io
import json
import shutil
from collections.abc import Mapping
from typing import Any

from services.scheduler.exports.archive import Sink
from services.scheduler.exports.records import ExportedJob
from services.scheduler.exports.scratch import Scratch


class Spool:
    """Bytes that wait on disk until they are copied, as often as they are wanted."""

    def __init__(self, scratch: Scratch) -> None:
        self._file = scratch.file()

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def copy_to(self, sink: Sink) -> None:
        self._file.seek(0)
        shutil.copyfileobj(self._file, sink)
        self._file.seek(0, io.SEEK_END)


class JsonList:
    """A JSON list that is written value by value; `end` closes it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._between = b"["

    def add(self, value: Any) -> None:
        self._sink.write(self._between + to_json(value))
        self._between = b",\n"

    def end(self) -> None:
        self._sink.write(b"[]" if self._between == b"[" else b"]")


class JsonSpool:
    """The same of a JSON list."""

    def __init__(self, scratch: Scratch) -> None:
        self._spool = Spool(scratch)
        self._between = b""

    def add(self, value: Any) -> None:
        self._spool.write(self._between + to_json(value))
        self._between = b",\n"

    def copy_to(self, sink: Sink) -> None:
        sink.write(b"[")
        self._spool.copy_to(sink)
        sink.write(b"]")


def write_object(sink: Sink, members: Mapping[str, Any]) -> None:
    """A JSON object. Spools among its members are copied."""
    before = b"{"
    for name, value in members.items():
        sink.write(before + to_json(name) + b":")
        if isinstance(value, JsonSpool):
            value.copy_to(sink)
        else:
            sink.write(to_json(value))
        before = b",\n"
    sink.write(b"}\n")


class Index:
    """`index.csv` of an archive: a row a job, which tells the job's image and what the caller called it."""

    NAME = "index.csv"
    COLUMNS = ("file_name", "sha256", "width", "height", "job_id", "custom_id", "line", "task")

    def __init__(self, scratch: Scratch) -> None:
        self._spool = Spool(scratch)
        self._row(self.COLUMNS)

    def add(self, job: ExportedJob) -> None:
        image = job.image
        name = "" if job.custom_id is None else job.custom_id
        self._row((image.file_name, image.id, image.width, image.height, job.id, name, job.line, job.ask.task.value))

    def copy_to(self, sink: Sink) -> None:
        self._spool.copy_to(sink)

    def _row(self, values: tuple[object, ...]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        self._spool.write(line.getvalue().encode())


def to_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
