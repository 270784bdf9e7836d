"""Composed scenes as conversations, each drawn when it is asked for: an endless source that needs no files."""

from pathlib import Path

from numpy.random import Generator
from PIL import Image

from shared.model import conversation
from shared.tasks import Task
from training.data.sample import Dataset, Sample, Turn
from training.data.segmentation import MadeMask
from training.language import conversations
from training.language.captions import gcg
from training.language.conversations import MAX_TURNS, dialogue
from training.language.world import usage
from training.scenes.compose import scene
from training.scenes.scene import Scene, Split


class ComposedScenes(Dataset):
    """The scenes from number `first` on of a split, `count` of them; what is said of each is drawn anew every time."""

    def __init__(self, split: Split, first: int, count: int) -> None:
        self.source = Path(f"scenes-{split}")
        self._split, self._first, self._count = split, first, count
        self._usage = usage(split)

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int, rng: Generator) -> Sample:
        made = scene(self._first + index, self._split)
        turns = tuple(_turn(said) for said in self._said(made, rng))
        return Sample(Image.fromarray(made.image), turns, self.source, index)

    def _said(self, made: Scene, rng: Generator) -> tuple[conversations.Turn, ...]:
        return dialogue(made, self._usage, rng, int(rng.integers(1, MAX_TURNS + 1)))


class SceneCaptions(ComposedScenes):
    """The same scenes, each asked for its grounded caption in the service's own words."""

    captions = True

    def _said(self, made: Scene, rng: Generator) -> tuple[conversations.Turn, ...]:
        said = gcg(made, self._usage, rng)
        return (conversations.Turn(Task.GCG, conversation.GCG, said.answer, said.masks),)


def _turn(said: conversations.Turn) -> Turn:
    return Turn(said.question, said.answer, tuple(MadeMask(mask) for mask in said.masks), said.boxes)
