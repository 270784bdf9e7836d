"""Held-out scenes: pictures that no training saw, with every task's ground truth, as `glamm scenes` writes them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from services.cli.asking import Kind
from services.cli.packages import needed

IMAGES: Final = "images"
GROUND_TRUTH: Mapping[Kind, str] = {
    Kind.GCG: "gcg",
    Kind.REFSEG: "refseg.json",
    Kind.REGION_CAPTION: "region_caption.json",
    Kind.VQA: "vqa.json",
    Kind.CAPTION: "caption.json",
}
"""Where the folder of a set of scenes keeps each task's."""

_GENERATOR = ("scenes/*.py", "language/*.py", "scene_sets.py", "masks.py")
"""In the package `training`."""


class Split(StrEnum):
    """test: seeds that no training drew; compositional: pairs of words that none showed together."""

    TEST = "test"
    COMPOSITIONAL = "compositional"


@dataclass(frozen=True)
class HeldOut:
    """Which scenes."""

    split: Split
    seed: int
    count: int

    @property
    def name(self) -> str:
        """Of the folder that holds them; another version of the generator makes other scenes, so it is in the name."""
        return f"{self.split}-{self.seed}-{self.count}-{_generator()}"


def scenes(asked: HeldOut, beside: Path) -> Path:
    """The folder of these scenes in `beside`, written where it is not there."""
    folder = beside / asked.name
    if not folder.exists():
        _write(asked, folder)
    return folder


def _write(asked: HeldOut, folder: Path) -> None:
    """As `glamm scenes` does, with pictures of its usual size."""
    with needed("training"):
        from services.cli.scenes import compose
        from training.scenes.compose import SIDE
    compose(asked.split.value, asked.seed, asked.count, folder, SIDE)


def _generator() -> str:
    """Eight hex digits that name the source of what draws scenes and speaks of them."""
    with needed("training"):
        import training
    (root,) = map(Path, training.__path__)
    digest = hashlib.sha256()
    for module in sorted(module for pattern in _GENERATOR for module in root.glob(pattern)):
        digest.update(str(module.relative_to(root)).encode() + b"\0" + module.read_bytes())
    return digest.hexdigest()[:8]
