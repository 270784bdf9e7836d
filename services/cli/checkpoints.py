"""The commands on checkpoint folders: compare one with the reference, turn one into another, make one.

They need the model's libraries, which not every installation of the command has; so those are imported when asked for.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import interrupts
from services.cli.packages import needed
from shared.errors import InvalidInput

if TYPE_CHECKING:
    import torch

    from shared.model.config import GlammConfig
    from shared.stages.parity import Replay

RANDOM = Path("data/checkpoints")

RELEASED = "Name a folder with weights as GLaMM's authors release them, whole; see docs/released-weights.md."
OURS = "Name a checkpoint folder, whole, as `glamm convert` and `glamm init` make it."
RECORDED = "Name a folder with config.json, weights and record.safetensors; see docs/released-weights.md."
SIZES = "Give sizes that fit together, as those of glamm-7b do."
"""What to do about a fault in what a command reads; the fault itself names the file."""

app = typer.Typer()


class Dtype(StrEnum):
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


@app.command()
def parity(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with config.json, weights and a record.")],
) -> None:
    """Compare this model with tensors recorded from the reference, step by step: exit code 0 if all hold, 1 if not.

    The abs. error of a step is its largest one; the rel. error is that over the
    step's largest value. Of ids and marks they are the number and the share of
    those that differ.
    """
    from rich.console import Console

    with faults("DIR", RECORDED), Console(stderr=True).status("reading the weights") as status:
        from shared.stages.parity import replay

        replayed = replay(folder, lambda step: status.update(f"replaying {step}"))
    _print(replayed)
    raise typer.Exit(0 if replayed.ok else 1)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The folder to read.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.")],
    clip: Annotated[Path | None, typer.Option(help="The folder of the CLIP tower, where SRC does not hold it.")] = None,
    to_reference: Annotated[bool, typer.Option("--to-reference", help="Turn a folder of ours back.")] = False,
    dtype: Annotated[Dtype | None, typer.Option(help="How to store weights. Default: as they are.")] = None,
) -> None:
    """Turn released GLaMM weights into a checkpoint folder, or back."""
    if to_reference and clip is not None:
        raise InvalidInput("--clip", "It is read only on the way from the reference.", "Leave it out.")
    with faults("SRC", OURS if to_reference else RELEASED):
        from shared.model import convert as conversion

        stored = None if dtype is None else _dtype(dtype)
        with _making("weights") as progress:
            if to_reference:
                config = conversion.to_reference(source, destination, stored, progress)
            else:
                config = conversion.from_reference(source, destination, clip, stored, progress)
    print(f"{destination} holds {config.name}, {_size(destination)}")
    if to_reference and (why := conversion.why_not_started(destination, config)):
        print(f"The reference's own program cannot start from it: {why}.")


@app.command()
def init(
    destination: Annotated[
        Path | None, typer.Argument(metavar="DST", help=f"The folder to make. Default: {RANDOM}/NAME-random.")
    ] = None,
    config: Annotated[str, typer.Option(help="glamm-7b, glamm-scenes, or a JSON file of sizes.")] = "glamm-7b",
    random: Annotated[
        bool, typer.Option("--random", help="Draw the weights. Needed: there is no other source.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same weights.")] = 0,
    device: Annotated[str, typer.Option(help="Where the weights are drawn: auto, cpu or cuda.")] = "auto",
    dtype: Annotated[Dtype, typer.Option(help="How weights are stored.")] = Dtype.BFLOAT16,
) -> None:
    """Make a checkpoint of any size with random weights, for benchmarks."""
    if not random:
        raise InvalidInput(
            "--random", "Weights can only be drawn.", "Add --random; `glamm convert` reads released ones."
        )
    with faults("--config", SIZES):
        from shared.model import random_weights, stand_in_tokenizer
        from shared.model.appearing import appearing
        from shared.stages.device import resolve_device

        sizes = _sizes(config)
        try:
            tokenizer = stand_in_tokenizer.make(sizes.llm.vocab_size)
        except ValueError as error:
            raise InvalidInput("--config", f"{error}.", "Enlarge llm.vocab_size.") from error
        folder = destination or RANDOM / f"{sizes.name}-random"
        place, stored = resolve_device(device), _dtype(dtype)
        with _making("weights") as progress, appearing(folder) as fresh:
            random_weights.write_random(fresh, sizes, tokenizer, seed, device=place, dtype=stored, progress=progress)
    print(f"{folder} holds {sizes.name} with random weights, {_size(folder)}")


def _print(replayed: "Replay") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("step", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    for name in ("abs. error", "rel. error", "ok"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in replayed.rows:
        verdict = "[green]ok[/]" if row.ok else "[bold red]NO[/]"
        shape = " × ".join(map(str, row.shape))
        table.add_row(row.step, shape, f"{row.absolute:.1e}", f"{row.relative:.1e}", verdict)
    # Rich takes a pipe for 80 columns wide, and would cut what is longer.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    failed = sum(not row.ok for row in replayed.rows)
    print(f"{len(replayed.rows) - failed} of {len(replayed.rows)} steps hold")
    if replayed.left_out:
        print(f"not replayed, since only the trainer computes it: {', '.join(replayed.left_out)}")


def _sizes(name: str) -> "GlammConfig":
    from shared.model.config import CONFIGS, GlammConfig

    shipped = sorted(path.stem for path in CONFIGS.glob("*.json"))
    if name in shipped:
        return GlammConfig.preset(name)
    try:
        return GlammConfig.read(Path(name))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput("--config", f"{name}: {reason}.", f"Use {', '.join(shipped)} or a JSON file.") from error


def _dtype(name: Dtype) -> "torch.dtype":
    import torch

    found: torch.dtype = getattr(torch, name.value)
    return found


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.iterdir()) / 2**30:.2f} GiB"


@contextmanager
def _making(noun: str) -> Iterator[Callable[[int, int], None]]:
    """Around the making of a folder: a bar on stderr, where somebody watches it.

    An interrupt waits for the next step of the bar, so that the folder that is being made vanishes at whatever moment
    the interrupt comes.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    # What the parts of a model import when they are built takes seconds, in which an interrupt would have to wait.
    from shared.model import lmm, pixel_decoder, vision_encoders  # noqa: F401

    console = Console(stderr=True)
    columns = (MofNCompleteColumn(), TextColumn(noun), BarColumn(bar_width=24), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with interrupts.held_back() as check, bar:
        task = bar.add_task(noun, total=None)

        def step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            check()

        yield step


@contextmanager
def faults(argument: str, remedy: str) -> Iterator[None]:
    """What can be wrong with the files of a command, as an error that the command line says in one line.

    argument: the one that names what is read, and remedy: what to do about it; a fault of what is made is DST's.
    """
    with needed("model"):
        from safetensors import SafetensorError

        from shared.model.appearing import DestinationError
        from shared.model.checkpoint import CheckpointError

        try:
            yield
        except DestinationError as error:
            raise InvalidInput("DST", f"{error}.", "Name a new folder, where there is room to write it.") from error
        except (CheckpointError, SafetensorError) as error:
            raise InvalidInput(argument, f"{error}.", remedy) from error
        except OSError as error:
            what = f"{error.filename or 'a file'}: {error.strerror or error}."
            raise InvalidInput(argument, what, remedy) from error
