"""`glamm`: start the service, and use one that runs.

Exit codes: 0 done, 1 a job failed, the service does not answer, a limit is reached or a comparison does not hold, 2 the
input is wrong or the service refuses it, 130 stopped by Ctrl-C or, while it makes a folder, by SIGTERM or SIGHUP.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli import accounts, chat, checkpoints, evaluate, exit_codes, keys, webhooks
from services.cli.asking import Kind
from services.cli.bulk import commands
from services.cli.options import UP_DATA, ApiKey, AsJson, Data, MaxNewTokens, Url
from shared.errors import GlammError
from shared.tasks import Task
from shared.version import VERSION

DEMO_DATA = Path("data/demo")
DEMO_OUT = Path("out/demo")

app = typer.Typer(
    name="glamm",
    help="Images annotated with words tied to pixels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(evaluate.app)
app.add_typer(checkpoints.app)
app.add_typer(commands.app)
app.add_typer(chat.app)
app.add_typer(accounts.app)
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")


@app.command()
def up(
    data: Data = UP_DATA,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The gateway's port. Default: a free one.")] = None,
) -> None:
    """Run the whole service here until Ctrl-C."""
    from services.cli import local

    local.up(data, port)


@app.command()
def demo(
    data: Data = DEMO_DATA,
    out: Annotated[Path, typer.Option(help="Where the overlays go.")] = DEMO_OUT,
) -> None:
    """Start the service, annotate the sample images over HTTP, show the results, stop the service."""
    from services.cli import local

    raise typer.Exit(local.demo(data, out))


@app.command()
def annotate(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="PNG, JPEG or WebP files.")],
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    task: Annotated[Task, typer.Option(help="What is asked.")] = Task.GCG,
    prompt: Annotated[str | None, typer.Option(help="An instruction in place of the task's own.")] = None,
    question: Annotated[str | None, typer.Option(help="vqa: a question; <box1> … name its boxes.")] = None,
    caption: Annotated[str | None, typer.Option(help="ground: the caption whose phrases to find.")] = None,
    expression: Annotated[list[str] | None, typer.Option(help="refseg: what to segment. Repeatable.")] = None,
    phrase: Annotated[list[str] | None, typer.Option(help="ground: a phrase of the caption. Repeatable.")] = None,
    box: Annotated[
        list[str] | None, typer.Option(metavar="X1,Y1,X2,Y2", help="region_caption, vqa: a region. Repeatable.")
    ] = None,
    max_new_tokens: MaxNewTokens = None,
    out: Annotated[Path | None, typer.Option(help="Write an overlay and the job's JSON an image here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print jobs as JSON, a line each, instead of text.")] = False,
) -> None:
    """Annotate images with a running service."""
    from rich.console import Console

    from services.cli import batch, locate, report
    from services.cli.asking import read_ask

    ask = read_ask(task, prompt, question, caption, expression or (), phrase or (), box or (), max_new_tokens)
    asked = batch.requests(images, ask)
    with locate.client(url, api_key, data) as client:
        client.greet()
        news = batch.run(client, asked, None if out is None else batch.pictures(out))
        summary = report.follow(news, asked, Console(), Console(stderr=True), as_json=as_json)
    raise typer.Exit(summary.exit_code)


@app.command()
def predict(
    task: Annotated[Kind, typer.Option(help="Which set is predicted.")],
    images: Annotated[Path, typer.Option(help="The folder of the set's images.")],
    out: Annotated[Path, typer.Option(help="A prediction file an image goes here. What is there is not asked again.")],
    ground_truth: Annotated[
        Path | None, typer.Option(help="What is asked of which images. Without it, gcg and caption: of every image.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="gcg, refseg: which, where the ground truth holds several.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    in_flight: Annotated[int, typer.Option(min=1, max=256, help="Jobs under way at once.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Make the predictions that `glamm evaluate` reads, and go on where an earlier run stopped."""
    from rich.console import Console

    from services.cli import locate
    from services.cli import predict as prediction

    plan = prediction.plan(task, images, ground_truth, out, split)
    with locate.client(url, api_key, data) as client:
        client.greet()
        (predicted,) = prediction.run(client, [plan], in_flight, Console(stderr=True))
    print(predicted.as_json() if as_json else predicted)
    raise typer.Exit(predicted.summary.exit_code)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train, on what and how.")],
    output: Annotated[Path | None, typer.Option(help="A folder in place of the config's.")] = None,
) -> None:
    """Train, or fine-tune, a model; run again to go on where it stopped."""
    from services.cli import train as training

    training.train(config, output)


@app.command()
def scenes(
    split: Annotated[str, typer.Option(help="train, test, or compositional: pairs that training never meets.")],
    seed: Annotated[int, typer.Option(min=0, help="Number of the first scene.")],
    count: Annotated[int, typer.Option(min=1, help="How many scenes.")],
    out: Annotated[Path, typer.Option(help="The folder for images and ground truth.")],
    side: Annotated[int, typer.Option(min=64, max=2048, help="Pixels of a picture's side.")] = 256,
) -> None:
    """Compose scenes with exact masks, captions, expressions and questions, in the forms that evaluation reads."""
    from services.cli import scenes as composed

    composed.write(split, seed, count, out, side)


@app.command()
def ready(url: Url = None, data: Data = UP_DATA, as_json: AsJson = False) -> None:
    """Say whether a service can take jobs: exit code 0 if so, 1 with the reason if not."""
    from services.cli import locate

    with locate.client(url, None, data, timeout=4) as client:
        health = client.ready()
        print(health.model_dump_json() if as_json else f"{client.url} is ready")


@app.command()
def migrate() -> None:
    """Bring the database of $GLAMM_DATABASE_URL to this version's tables. Safe at any time, and by many at once."""
    from services.cli.one_shot import database_in_use, one_shot
    from shared import database
    from shared.settings import get_settings

    with one_shot("migrate") as say:
        with database_in_use():
            database.migrate(get_settings().database_url)
        say("the database is up to date", "database.migrated")


@app.command()
def bucket() -> None:
    """Make the bucket of $GLAMM_S3_BUCKET in the object store where it is missing."""
    from services.cli.one_shot import one_shot
    from shared.objects import ObjectStore
    from shared.settings import get_settings

    with one_shot("bucket") as say:
        settings = get_settings()
        ObjectStore(settings).ensure_bucket()
        say(f"the bucket {settings.s3_bucket} exists", "bucket.ensured", bucket=settings.s3_bucket)


@app.command()
def version() -> None:
    """Print the version."""
    print(f"glamm {VERSION}")


def main() -> None:
    """Run the command of `sys.argv`. Every foreseeable fault is one line on stderr and an exit code, never a trace."""
    try:
        code = app(prog_name="glamm", standalone_mode=False)
    except GlammError as error:
        code = _complain(error)
    except typer.TyperException as error:
        message = " ".join(error.format_message().split())
        if message:
            print(f"glamm: {message} See `glamm --help`.", file=sys.stderr)
        code = error.exit_code
    except BrokenPipeError:
        # Whoever read our output has gone; a handle that goes nowhere keeps the interpreter's last flush quiet.
        sys.stdout = open("/dev/null", "w")  # noqa: PTH123, SIM115
        code = 1
    sys.exit(code or 0)


def _complain(error: GlammError) -> int:
    from services.cli.terminal import problem_line

    print(f"glamm: {problem_line(error.to_problem())}", file=sys.stderr)
    return exit_codes.of(error)
