"""The commands that run the whole service on this host."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from rich.console import Console

from deploy.embedded.stack import Stack
from services.cli import batch, report
from services.cli.client import GlammClient
from services.cli.terminal import plural, say
from shared.tasks import Ask, Task

SAMPLES = Path(__file__).parent / "samples"


def up(data: Path, port: int | None) -> None:
    """Run the stack until an interrupt, which is how it is meant to end."""
    out, err = Console(), Console(stderr=True)
    with started(data, port, err) as stack:
        say(out, stack.gateway_url, style="bold")
        say(err, f"Data, logs and the API key are in {data}. Annotate with `glamm annotate IMAGE`; stop with Ctrl-C.")
        try:
            stack.wait()
        except (KeyboardInterrupt, SystemExit):
            say(err, "Stopping.")


def demo(data: Path, out_dir: Path) -> int:
    """Annotate the shipped samples on a stack of their own; returns the exit code."""
    out, err = Console(), Console(stderr=True)
    samples = sorted(SAMPLES.glob("scene-*"))
    asked = batch.requests(samples, Ask(Task.GCG))
    with started(data, None, err) as stack:
        with GlammClient(stack.gateway_url, api_key=stack.api_key) as client:
            news = batch.run(client, asked, batch.pictures(out_dir))
            summary = report.follow(news, asked, out, err, as_json=False)
        say(err, "Stopping the service.")
    say(out, f"{plural(summary.succeeded, 'overlay')} in {out_dir}/")
    return summary.exit_code


@contextmanager
def started(
    data: Path, port: int | None, err: Console, environment: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """The running stack; whatever happens inside, none of its processes is left afterwards.

    environment: GLAMM_ settings of its processes beyond those of this one.
    """
    since = monotonic()
    stack = Stack(data, port=port, environment=environment, report=lambda line: say(err, line))
    try:
        with err.status("Starting the servers, the gateway, the scheduler and three workers."):
            stack.start()
        say(err, f"The service started in {monotonic() - since:.1f} s.")
        yield stack
    finally:
        stack.stop()
