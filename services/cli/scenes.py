"""`glamm scenes`: composed scenes with their ground truth, for training elsewhere and for evaluation."""

from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import track

from services.cli import interrupts
from services.cli.packages import needed
from services.cli.terminal import plural
from shared.appearing import DestinationError, appearing
from shared.errors import InvalidInput


def write(split: str, seed: int, count: int, out: Path, side: int) -> None:
    """Compose the scenes, and say so."""
    compose(split, seed, count, out, side)
    print(f"{out}: {plural(count, 'scene')}")


def compose(split: str, seed: int, count: int, out: Path, side: int) -> None:
    """The folder appears when it is whole; an interrupt waits for the end of the scene at hand, so that none is left.

    Raises InvalidInput for a split that there is not, and where the folder cannot be made or holds anything already.
    """
    with needed("training"):
        from training import scene_sets
        from training.scenes.scene import Split
    if split not in get_args(Split):
        raise InvalidInput("--split", f"There is no split {split!r}.", f"Give one of {', '.join(get_args(Split))}.")
    chosen = scene_sets.SceneSet(split, seed, count)  # type: ignore[arg-type]
    try:
        with interrupts.held_back() as check, appearing(out) as folder:
            written = scene_sets.write(chosen, folder, side=side)
            for _ in track(written, "scenes", total=count, console=Console(stderr=True), transient=True):
                check()
    except DestinationError as error:
        raise InvalidInput("--out", f"{error}.", "Name a new folder, where there is room to write it.") from error
