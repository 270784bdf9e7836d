"""Many images annotated at once: a few in flight, news of each as it comes."""

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from services.cli.client import GlammClient
from shared import schema
from shared.errors import GlammError
from shared.priority import Priority
from shared.tasks import Ask

IN_FLIGHT = 8
NEWS_SECONDS = 0.5


@dataclass(frozen=True)
class Request:
    """What to ask about one image, and what its output files are called."""

    path: Path
    name: str
    ask: Ask


@dataclass(frozen=True)
class Moved:
    """A job in a new state, or further in it."""

    request: Request
    state: str
    progress: float


@dataclass(frozen=True)
class Done:
    """The end of one request: a finished job with the files written for it, or the error that prevented it."""

    request: Request
    job: schema.Job | None = None
    error: GlammError | OSError | None = None
    files: tuple[Path, ...] = field(default=())


News = Moved | Done
Keep = Callable[[GlammClient, Request, schema.Job], tuple[Path, ...]]
"""Writes what came of a request; returns the files."""


def requests(paths: Sequence[Path], ask: Ask) -> list[Request]:
    """One request an image; images of the same name in different folders get different output names."""
    taken: set[str] = set()
    made = []
    for path in paths:
        numbered = (path.stem if n == 1 else f"{path.stem}-{n}" for n in count(1))
        name = next(name for name in numbered if name not in taken)
        taken.add(name)
        made.append(Request(path, name, ask))
    return made


def run(
    client: GlammClient,
    asked: Sequence[Request],
    keep: Keep | None,
    in_flight: int = IN_FLIGHT,
    every: float = NEWS_SECONDS,
    priority: Priority = Priority.INTERACTIVE,
) -> Iterator[News]:
    """Send every request and yield what becomes of it, exactly one `Done` each, in the order of events.

    `keep` writes files for each success, on the thread that waited for it. every: seconds between two looks at a job on
    its way; its end is told at once. Stopping half-way leaves nothing waiting: the threads are daemons, and an
    unfinished job goes on in the service.
    """
    waiting: queue.SimpleQueue[Request] = queue.SimpleQueue()
    for request in asked:
        waiting.put(request)
    news: queue.SimpleQueue[News | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            while True:
                try:
                    request = waiting.get_nowait()
                except queue.Empty:
                    return
                news.put(_annotate(client, request, keep, news, every, priority))
        except BaseException as error:  # handed to the caller's thread, which raises it
            news.put(error)

    for _ in range(min(in_flight, len(asked))):
        threading.Thread(target=work, daemon=True, name="annotate").start()
    left = len(asked)
    while left:
        item = news.get()
        if isinstance(item, BaseException):
            raise item
        left -= isinstance(item, Done)
        yield item


def pictures(out: Path) -> Keep:
    """Writes an overlay (`NAME.overlay.png`) and the job (`NAME.json`) of each success into a folder."""

    def write(client: GlammClient, request: Request, job: schema.Job) -> tuple[Path, ...]:
        out.mkdir(parents=True, exist_ok=True)
        overlay, data = out / f"{request.name}.overlay.png", out / f"{request.name}.json"
        overlay.write_bytes(client.overlay_png(job.id))
        write_json(data, job.model_dump(mode="json"))
        return overlay, data

    return write


def write_json(path: Path, value: object) -> None:
    """Under its name only when it is whole: a file that is there need not be made again."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _annotate(
    client: GlammClient,
    request: Request,
    keep: Keep | None,
    news: "queue.SimpleQueue[News | BaseException]",
    every: float,
    priority: Priority,
) -> Done:
    try:
        news.put(Moved(request, "uploading", 0.0))
        image = client.upload_image(request.path.read_bytes())
        created = client.create_job(image.id, request.ask, priority=priority)
        job = client.wait_for(
            created.id, every=every, seen=lambda view: news.put(Moved(request, view.state, view.progress))
        )
        files = keep(client, request, job) if keep is not None and job.result is not None else ()
        return Done(request, job=job, files=files)
    except (GlammError, OSError) as error:
        return Done(request, error=error)
