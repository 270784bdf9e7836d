"""Many images annotated at once: a few in flight, news of each as it comes."""

import json
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from services.cli.client import GlammClient
from shared import schema
from shared.errors import GlammError
from shared.tasks import Ask

IN_FLIGHT = 8
_NEWS_SECONDS = 0.5


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


def run(client: GlammClient, asked: Sequence[Request], out: Path | None, in_flight: int = IN_FLIGHT) -> Iterator[News]:
    """Send every request and yield what becomes of it, exactly one `Done` each, in the order of events.

    With `out`, an overlay (`NAME.overlay.png`) and the job (`NAME.json`) are written there for each success. Stopping
    half-way leaves nothing waiting: the threads are daemons, and an unfinished job goes on in the service.
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
                news.put(_annotate(client, request, out, news))
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


def _annotate(
    client: GlammClient, request: Request, out: Path | None, news: "queue.SimpleQueue[News | BaseException]"
) -> Done:
    try:
        news.put(Moved(request, "uploading", 0.0))
        image = client.upload_image(request.path.read_bytes())
        created = client.create_job(image.id, request.ask)
        job = client.wait_for(
            created.id, every=_NEWS_SECONDS, seen=lambda view: news.put(Moved(request, view.state, view.progress))
        )
        files = _write(client, request, job, out) if out is not None and job.result is not None else ()
        return Done(request, job=job, files=files)
    except (GlammError, OSError) as error:
        return Done(request, error=error)


def _write(client: GlammClient, request: Request, job: schema.Job, out: Path) -> tuple[Path, ...]:
    out.mkdir(parents=True, exist_ok=True)
    overlay, data = out / f"{request.name}.overlay.png", out / f"{request.name}.json"
    overlay.write_bytes(client.overlay_png(job.id))
    data.write_text(json.dumps(job.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return overlay, data
