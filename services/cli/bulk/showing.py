"""`glamm show`: one job, as people look at it."""

from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from services.cli import terminal
from services.cli.client import GlammClient, Refused
from shared import schema
from shared.errors import InvalidInput


def save_overlay(client: GlammClient, job: schema.Job, out: Path, err: Console) -> Path | None:
    """The picture's file; none where the job has no result, or its image was deleted, which is told on `err`."""
    if job.result is None:
        return None
    path = out / f"{job.id}.overlay.png"
    try:
        picture = client.overlay_png(job.id)
        out.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    except Refused as error:
        if not error.blames_the_request:
            raise
        terminal.say(err, terminal.problem_line(error.to_problem()), style="yellow")
        return None
    except OSError as error:
        raise InvalidInput("--out", f"{out} cannot be used: {error.strerror}.", "Choose another folder.") from None
    return path


def show(job: schema.Job, picture: Path | None, console: Console, *, answer: bool) -> None:
    """answer: the text and the timings as well, and not only where the picture is."""
    if answer:
        heading = Text(f"{job.custom_id or job.id}  ").append(job.state.value, style="bold").append("  ")
        console.print(heading.append(terminal.timings(job)), soft_wrap=True)
        if job.result is not None:
            console.print(Padding(terminal.caption(job), (0, 0, 0, 2)))
        elif job.error is not None:
            console.print(Text(f"  {terminal.problem_line(job.error)}", style="red"), soft_wrap=True)
    if picture is not None:
        terminal.say(console, f"  → {picture}", style="dim")
