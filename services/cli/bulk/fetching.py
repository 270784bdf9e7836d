"""`glamm results`: what came of a batch, as files that appear when they are whole."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from rich.console import Console

from services.cli.bulk.formats import Format
from services.cli.client import GlammClient, Refused
from services.cli.progress import bars
from shared import exports, schema
from shared.errors import InvalidInput, Problem
from shared.states import State


def fetch(client: GlammClient, batch: schema.Batch, form: Format, out: Path, err: Console) -> list[Path]:
    """The files that were written into `out`. Raises GlammError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if form is Format.JSONL:
            return _lines(client, batch, out, err)
        return [_export(client, batch, exports.Format(form), out, err)]
    except OSError as error:
        raise InvalidInput("--out", f"{out} cannot be filled: {error.strerror}.", "Choose another folder.") from None


def _lines(client: GlammClient, batch: schema.Batch, out: Path, err: Console) -> list[Path]:
    undone = batch.invalid_lines + batch.counts[State.FAILED] + batch.counts[State.CANCELED]
    parts = (
        (out / "results.jsonl", client.results(batch.id), batch.counts[State.SUCCEEDED]),
        (out / "errors.jsonl", client.errors(batch.id), undone),
    )
    for path, _, _ in parts:
        _require_its_own(client, batch, path)
    with bars(err) as progress:
        for path, lines, count in parts:
            row = progress.add_task(path.name, total=count, state="")
            with _appearing(path) as file:
                for line in lines:
                    file.write(line + b"\n")
                    progress.advance(row)
    return [path for path, _, _ in parts]


def _require_its_own(client: GlammClient, batch: schema.Batch, path: Path) -> None:
    """Raises InvalidInput for a file that holds something else than an earlier state of the batch."""
    if not _is_of(client, batch, path):
        raise InvalidInput(
            "--out",
            f"{path} is there, and does not come from the batch {batch.id}.",
            "Choose another folder, or move the file.",
        )


def _is_of(client: GlammClient, batch: schema.Batch, path: Path) -> bool:
    """By the first job in it; what names none, but is in the form of such files, could be fetched once more."""
    try:
        with path.open("rb") as lines:
            ids = (json.loads(line)["id"] for line in lines)
            first = next((UUID(job_id) for job_id in ids if job_id is not None), None)
    except FileNotFoundError:
        return True
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    try:
        return first is None or client.job(first).links.batch == batch.links.self
    except Refused as error:
        if error.problem.status != 404:
            raise
        return False


def _export(client: GlammClient, batch: schema.Batch, form: exports.Format, out: Path, err: Console) -> Path:
    path = out / f"{batch.id}-{form}.{form.ending}"
    with bars(err) as progress:
        row = progress.add_task(form.value, total=1.0, state="")
        built = client.built_export(
            batch.id, form, seen=lambda export: progress.update(row, completed=export.progress, state=export.state)
        )
        if built.url is None:
            assert built.error is not None
            raise Refused(Problem.from_json(built.error.model_dump()))
        progress.update(row, total=built.bytes, completed=0, state="download")
        with _appearing(path) as file:
            for piece in client.download(built.url):
                file.write(piece)
                progress.advance(row, len(piece))
    return path


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        yield file
    partial.replace(path)
