"""`glamm scenes`: composed scenes with their ground truth, for training elsewhere and for evaluation."""

from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import track

from services.cli.packages import needed
from services.cli.terminal import plural
from shared.errors import InvalidInput


def write(split: str, seed: int, count: int, out: Path, side: int) -> None:
    """Compose the scenes, and say so."""
    compose(split, seed, count, out, side)
    print(f"{out}: {plural(count, 'scene')}")


def compose(split: str, seed: int, count: int, out: Path, side: int) -> None:
    """Raises InvalidInput for a split that there is not, and where the folder holds anything else already."""
    with needed("training"):
        from training import scene_sets
        from training.scenes.scene import Split
    if split not in get_args(Split):
        raise InvalidInput("--split", f"There is no split {split!r}.", f"Give one of {', '.join(get_args(Split))}.")
    chosen = scene_sets.SceneSet(split, seed, count)  # type: ignore[arg-type]
    if out.is_dir() and any(out.iterdir()) and not (out / scene_sets.IMAGES).is_dir():
        raise InvalidInput("--out", f"{out} holds something else.", "Name a folder that is new or empty.")
    written = scene_sets.write(chosen, out, side=side)
    for _ in track(written, "scenes", total=count, console=Console(stderr=True), transient=True):
        pass
