"""Scenes as training examples: pixels for both towers, a conversation with its labels, low-resolution target masks."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from shared.model import conversation
from shared.model.config import GlammConfig
from shared.model.images import clip_pixels, sam_pixels
from shared.model.tokenizer import GlammTokenizer
from training.scenes.backgrounds import BACKGROUNDS
from training.scenes.compose import POSITIONS, Scene, scene
from training.scenes.language import SIZE_WORDS, caption, gcg, refseg, region_caption
from training.scenes.sprites import CATEGORIES

TASK_SHARES = {"gcg": 0.55, "refseg": 0.2, "region_caption": 0.15, "caption": 0.1}
CLASSES = (*CATEGORIES, *BACKGROUNDS)
POSITION_WORDS = tuple(word for row in POSITIONS for word in row)
IGNORE = -100
# An object is what a cell shows once it covers this share of it, though the background may cover more.
CELL_SHARE = 0.35


@dataclass(frozen=True)
class Cells:
    """What each cell of a tower's grid shows, as class indices (g, g); IGNORE where an attribute has no value."""

    category: Tensor
    rank: Tensor
    size: Tensor
    position: Tensor


@dataclass(frozen=True)
class Example:
    """One scene with one conversation.

    clip, sam: (3, S, S) each; clip_cells, sam_cells: at the two grids; classes: (m,) class of each of the scene's
    regions and region_masks: (m, 4g, 4g) soft masks of them; ids: prompt and answer with the image's placeholder;
    answer_at: where in `ids` the answer begins; seg_masks: (n, 4g, 4g), one a [SEG] of the answer; box: xyxy in
    0..1 or None; seg_classes: (n,) class of what each of them shows.
    """

    clip: Tensor
    sam: Tensor
    clip_cells: Cells
    sam_cells: Cells
    classes: Tensor
    region_masks: Tensor
    ids: list[int]
    answer_at: int
    seg_masks: Tensor
    seg_classes: Tensor
    box: Tensor | None


class SceneExamples(IterableDataset[list[Example]]):
    """Endless batches of consecutive training scenes from number `start` on, however many workers share them out."""

    def __init__(self, config: GlammConfig, tokenizer: GlammTokenizer, batch: int, start: int = 0) -> None:
        self.config, self.tokenizer, self.batch, self.start = config, tokenizer, batch, start

    def __iter__(self) -> Iterator[list[Example]]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        if worker:
            # The training itself needs the cores.
            torch.set_num_threads(1)
        for index in itertools.count(first, step):
            number = self.start + index * self.batch
            yield [self.example(number + offset) for offset in range(self.batch)]

    def example(self, number: int) -> Example:
        made = scene(number, "train")
        rng = np.random.default_rng([number, 1])
        task = str(rng.choice(list(TASK_SHARES), p=list(TASK_SHARES.values())))
        return make_example(made, task, rng, self.config, self.tokenizer)


def make_example(
    made: Scene, task: str, rng: np.random.Generator, config: GlammConfig, tokenizer: GlammTokenizer
) -> Example:
    prompt: str | None = None
    masks: list[npt.NDArray[np.bool_]] = []
    box: Tensor | None = None
    match task:
        case "gcg":
            answer, found = gcg(made)
            masks = list(found)
        case "refseg":
            prompt, answer, mask = refseg(made, rng)
            masks = [mask]
        case "region_caption":
            corners, answer = region_caption(made, rng)
            height, width = made.background_mask.shape
            box = torch.tensor(corners, dtype=torch.float32) / torch.tensor([width, height, width, height])
        case _:
            answer = caption(made)
    image = Image.fromarray(made.image)
    side = config.sam.grid * 4
    question = conversation.build([(conversation.instruction(task, prompt), None)])
    prompt_ids = tokenizer.encode_prompt(question)
    answer_ids = tokenizer.encode_prompt(f"{question} {answer}")[len(prompt_ids) :]
    regions = [thing.mask for thing in made.objects] + [made.background_mask]
    names = [thing.category for thing in made.objects] + [made.background]
    class_of = {id(mask): CLASSES.index(name) for mask, name in zip(regions, names, strict=True)}
    return Example(
        clip=clip_pixels(image, config.clip.image_size),
        sam=sam_pixels(image, config.sam.image_size),
        clip_cells=cells(made, config.clip.grid),
        sam_cells=cells(made, config.sam.grid),
        classes=torch.tensor([CLASSES.index(name) for name in names]),
        region_masks=shrink(np.stack(regions), side),
        ids=[*prompt_ids, *answer_ids, tokenizer.eos],
        answer_at=len(prompt_ids),
        seg_masks=shrink(np.stack(masks), side) if masks else torch.zeros(0, side, side),
        seg_classes=torch.tensor([class_of[id(mask)] for mask in masks], dtype=torch.long),
        box=box,
    )


def cells(made: Scene, grid: int) -> Cells:
    """What each of grid × grid cells shows: the object that covers CELL_SHARE of it most, else the background."""
    cover = shrink(np.stack([thing.mask for thing in made.objects]), grid)
    best, which = cover.max(0)
    shown = best >= CELL_SHARE
    objects = made.objects

    def of_objects(values: list[int], elsewhere: int) -> Tensor:
        return torch.where(shown, torch.tensor(values)[which], torch.tensor(elsewhere))

    return Cells(
        category=of_objects([CLASSES.index(o.category) for o in objects], CLASSES.index(made.background)),
        rank=of_objects(list(range(len(objects))), IGNORE),
        size=of_objects([("", *SIZE_WORDS).index(o.size_word) for o in objects], IGNORE),
        position=of_objects([POSITION_WORDS.index(o.position_word) for o in objects], IGNORE),
    )


def shrink(masks: npt.NDArray[np.bool_], side: int) -> Tensor:
    """(n, H, W) bool → (n, side, side) float32 share of each cell that is covered; H and W are multiples of side."""
    n, height, width = masks.shape
    blocks = masks.reshape(n, side, height // side, side, width // side)
    return torch.from_numpy(blocks.mean(axis=(2, 4), dtype=np.float32))
