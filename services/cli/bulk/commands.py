"""The commands for batches, from `submit`, `ps` and `jobs` to `results` and `cancel`, and `show` for one job."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

import typer

from services.cli.bulk.formats import Format
from services.cli.options import UP_DATA, ApiKey, AsJson, Data, MaxNewTokens, Url
from shared.errors import InvalidInput
from shared.priority import Priority
from shared.states import State
from shared.tasks import Task

if TYPE_CHECKING:
    from rich.console import Console

    from services.cli.client import GlammClient
    from shared import schema

OK, FAILED, BAD_INPUT = 0, 1, 2
_PATIENCE = 300.0
"""Seconds that long work waits for a service that is away, such as one that is being updated."""

app = typer.Typer()

BatchId = Annotated[UUID, typer.Argument(metavar="BATCH", help="As `glamm submit` and `glamm ps` show it.")]


@app.command()
def submit(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="A folder, image files, one manifest.jsonl, or s3://BUCKET/PREFIX."),
    ],
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    task: Annotated[Task | None, typer.Option(help="What is asked. Default: gcg.")] = None,
    prompt: Annotated[str | None, typer.Option(help="An instruction in place of the task's own.")] = None,
    question: Annotated[str | None, typer.Option(help="vqa: a question; <box1> … name its boxes.")] = None,
    caption: Annotated[str | None, typer.Option(help="ground: the caption whose phrases to find.")] = None,
    expression: Annotated[list[str] | None, typer.Option(help="refseg: what to segment. Repeatable.")] = None,
    phrase: Annotated[list[str] | None, typer.Option(help="ground: a phrase of the caption. Repeatable.")] = None,
    box: Annotated[
        list[str] | None, typer.Option(metavar="X1,Y1,X2,Y2", help="region_caption, vqa: a region. Repeatable.")
    ] = None,
    max_new_tokens: MaxNewTokens = None,
    name: Annotated[str, typer.Option(help="To tell the batch by.")] = "",
    priority: Annotated[
        Literal["bulk", "interactive"], typer.Option(help="Interactive jobs, of whomever, go before bulk ones.")
    ] = "bulk",
    on_invalid: Annotated[
        Literal["reject", "skip"],
        typer.Option(help="Whether one file or line that is wrong keeps all from being submitted, or is left out."),
    ] = "reject",
    expires_in: Annotated[
        float | None,
        typer.Option(
            min=1, metavar="SECONDS", help="Jobs that have not finished by then fail. Default: the service's."
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also if the very same was submitted already.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Then watch it until it has finished.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload images, make a batch of jobs on them, print its id. Run it again to go on where it was interrupted.

    Images below a prefix of a bucket that the service may read are not uploaded.
    """
    from rich.console import Console

    from services.cli import locate
    from services.cli.asking import read_ask
    from services.cli.bulk import plans, telling
    from services.cli.bulk.ledger import Ledger
    from services.cli.bulk.submitting import Options, Target

    place, paths = plans.in_bucket(sources), [Path(source) for source in sources]
    plan: plans.Plan | plans.InBucket | None = None if place else plans.own_manifest(paths)
    if plan is None:
        texts = prompt, question, caption
        ask = read_ask(task or Task.GCG, *texts, expression or (), phrase or (), box or (), max_new_tokens)
        plan = plans.InBucket(place, ask) if place else plans.SameAsk(plans.find(paths), ask)
    elif any((task, prompt, question, caption, expression, phrase, box, max_new_tokens)):
        raise InvalidInput("--task", "Each line of a manifest says what is asked.", "Leave the options of tasks out.")
    options = Options(name, Priority(priority), on_invalid, expires_in)
    err = Console(stderr=True)
    address = locate.address(url, api_key, data)
    with locate.client(url, api_key, data, patience=_PATIENCE) as client, Ledger(_ledger(data)) as ledger:
        client.greet()
        done = telling.submit_aloud(Target(client, address.api_key), plan, options, ledger, err, again=again)
        if done.batch is None:
            raise typer.Exit(BAD_INPUT)
        if not as_json:
            print(done.batch.id)
        batch, code = _watched(client, done.batch, err) if watch else (done.batch, OK)
    if as_json:
        print(telling.as_json(done, batch))
    raise typer.Exit(code)


@app.command()
def ps(
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List batches, the newest first."""
    from itertools import islice

    from services.cli import locate

    with locate.client(url, api_key, data) as client:
        found = list(islice(client.batches(limit=min(limit, 200)), limit))
    if as_json:
        for batch in found:
            print(batch.model_dump_json())
        return
    from rich.console import Console

    from services.cli.bulk import listing

    listing.of_batches(found).show(Console())


@app.command()
def jobs(
    batch_id: Annotated[
        UUID | None,
        typer.Argument(metavar="BATCH", help="As `glamm ps` shows it. Default: all jobs, of whatever batch."),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    state: Annotated[
        list[State] | None,
        typer.Option(metavar="STATE", help=f"{', '.join(State)}. Repeatable, for any of several."),
    ] = None,
    task: Annotated[Task | None, typer.Option(help="Of this task.")] = None,
    image: Annotated[str | None, typer.Option(metavar="ID", help="On this image. Without BATCH.")] = None,
    custom_id: Annotated[str | None, typer.Option(help="The one of BATCH that you call so.")] = None,
    error: Annotated[
        str | None,
        typer.Option(metavar="PROBLEM", help="Of BATCH, failed with this: its name in `glamm watch` or its type."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List jobs: the newest first, or those of a batch in the order of its manifest."""
    from itertools import islice

    from rich.console import Console

    from services.cli import locate
    from services.cli.bulk import listing
    from services.cli.terminal import say

    misplaced = {"--image": image} if batch_id is not None else {"--custom-id": custom_id, "--error": error}
    for option, value in misplaced.items():
        if value is not None:
            place = "without" if batch_id is not None else "with"
            raise InvalidInput(option, f"It goes {place} a BATCH.", f"Leave it out, or list jobs {place} one.")
    states, a_page = tuple(state or ()), min(limit + 1, 200)
    found: Sequence[schema.JobSummary | schema.BatchJob]
    with locate.client(url, api_key, data) as client:
        if batch_id is None:
            own = list(islice(client.jobs(state=states, task=task, image_id=image, limit=a_page), limit + 1))
            found, listed = own, listing.of_all(own[:limit])
        else:
            failed_by = None if error is None else listing.error_type(error, client.batch(batch_id).problems)
            wanted = client.batch_jobs(
                batch_id, state=states, task=task, custom_id=custom_id, error_type=failed_by, limit=a_page
            )
            its = list(islice(wanted, limit + 1))
            found, listed = its, listing.of_batch(its[:limit])
    if as_json:
        for job in found[:limit]:
            print(job.model_dump_json())
    else:
        listed.show(Console())
    if len(found) > limit:
        say(Console(stderr=True), f"There are more than {limit:,}: --limit shows more of them.", style="yellow")


@app.command()
def watch(
    batch_id: BatchId, url: Url = None, api_key: ApiKey = None, data: Data = UP_DATA, as_json: AsJson = False
) -> None:
    """Follow a batch until it has finished: exit code 0 if every job succeeded, else 1. Ctrl-C leaves it running."""
    from rich.console import Console

    from services.cli import locate

    with locate.client(url, api_key, data, patience=_PATIENCE) as client:
        batch, code = _watched(client, client.batch(batch_id), Console(stderr=True))
    _print_batch(batch, as_json)
    raise typer.Exit(code)


@app.command()
def results(
    batch_id: BatchId,
    out: Annotated[Path, typer.Option(help="The folder for the files.")],
    form: Annotated[Format, typer.Option("--format", help="Of the dataset; see docs/bulk.md.")] = Format.JSONL,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: AsJson = False,
) -> None:
    """Fetch what came of a batch, also while it runs, and print the files' paths.

    The state that --json tells is the one before: unless it is `finished`, more may come.
    """
    from rich.console import Console

    from services.cli import locate
    from services.cli.bulk import fetching, watching
    from services.cli.terminal import say

    err = Console(stderr=True)
    with locate.client(url, api_key, data, patience=_PATIENCE) as client:
        batch = client.batch(batch_id)
        if batch.state != "finished":
            say(err, f"The batch has not finished, so this is not all of it. {watching.line(batch)}", style="yellow")
        paths = fetching.fetch(client, batch, form, out, err)
    if as_json:
        told = {"batch": str(batch.id), "state": batch.state, "format": form.value, "files": list(map(str, paths))}
        print(json.dumps(told))
    else:
        print(*paths, sep="\n")


@app.command()
def show(
    job_id: Annotated[UUID, typer.Argument(metavar="JOB", help="As results and `glamm annotate --json` name it.")],
    out: Annotated[Path, typer.Option(help="The folder for its overlay.")] = Path("out"),
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: AsJson = False,
) -> None:
    """Show a job: its answer in colours, and the image with its masks as a picture. Exit code 1 if it has failed."""
    from rich.console import Console

    from services.cli import locate
    from services.cli.bulk import showing

    with locate.client(url, api_key, data) as client:
        job = client.job(job_id)
        if as_json:
            print(job.model_dump_json())
        picture = showing.save_overlay(client, job, out, Console(stderr=True))
    showing.show(job, picture, Console(stderr=as_json), answer=not as_json)
    raise typer.Exit(FAILED if job.state in ("failed", "canceled") else OK)


@app.command()
def pause(
    batch_id: BatchId, url: Url = None, api_key: ApiKey = None, data: Data = UP_DATA, as_json: AsJson = False
) -> None:
    """Start no more jobs of a batch; those that have started go on."""
    _steer(lambda client: client.pause_batch(batch_id), url, api_key, data, as_json)


@app.command()
def resume(
    batch_id: BatchId, url: Url = None, api_key: ApiKey = None, data: Data = UP_DATA, as_json: AsJson = False
) -> None:
    """Go on with a batch that was paused."""
    _steer(lambda client: client.resume_batch(batch_id), url, api_key, data, as_json)


@app.command()
def retry(
    batch_id: BatchId, url: Url = None, api_key: ApiKey = None, data: Data = UP_DATA, as_json: AsJson = False
) -> None:
    """Queue the jobs of a batch that have failed once more."""
    _steer(lambda client: client.retry_batch(batch_id), url, api_key, data, as_json)


@app.command()
def cancel(
    which: Annotated[UUID, typer.Argument(metavar="BATCH|JOB", help="A batch's id, or a job's.")],
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: AsJson = False,
) -> None:
    """Cancel a job, or all jobs of a batch that have not finished. Results that are there stay."""
    from services.cli import locate
    from services.cli.client import Refused

    with locate.client(url, api_key, data) as client:
        try:
            _print_batch(client.cancel_batch(which), as_json)
        except Refused as error:
            if error.problem.status != 404:
                raise
            job = client.cancel_job(which)
            print(job.model_dump_json() if as_json else f"{job.id} {job.state}")


def _ledger(data: Path) -> Path:
    """Beside the data folder, which need not be there for a service elsewhere."""
    return data.absolute().parent / "submissions.sqlite"


def _watched(client: "GlammClient", batch: "schema.Batch", err: "Console") -> tuple["schema.Batch", int]:
    from services.cli.bulk import watching

    batch = watching.watch(client, batch.id, err)
    return batch, OK if watching.succeeded(batch) else FAILED


def _steer(
    move: Callable[["GlammClient"], "schema.Batch"], url: str | None, api_key: str | None, data: Path, as_json: bool
) -> None:
    from services.cli import locate

    with locate.client(url, api_key, data) as client:
        _print_batch(move(client), as_json)


def _print_batch(batch: "schema.Batch", as_json: bool) -> None:
    from rich.console import Console

    from services.cli.bulk import watching
    from services.cli.lists import show_table
    from services.cli.terminal import say

    if as_json:
        print(batch.model_dump_json())
        return
    out = Console()
    say(out, f"{batch.id} {watching.line(batch)}")
    if (faults := watching.faults(batch)) is not None:
        show_table(faults, out)
