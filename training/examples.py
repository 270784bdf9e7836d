"""Scenes as training examples: pixels for both towers, a conversation with its labels, low-resolution target masks."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from shared.masks import Box, Mask
from shared.model import conversation
from shared.model.config import GlammConfig
from shared.model.images import clip_pixels, sam_pixels
from shared.model.tokenizer import GlammTokenizer
from training.conversations import read_out
from training.scenes.backgrounds import BACKGROUNDS
from training.scenes.compose import POSITIONS, Scene, scene
from training.scenes.language import SIZE_WORDS, caption, gcg, ground, refseg, region_caption, vqa
from training.scenes.sprites import CATEGORIES

TASK_SHARES = {"gcg": 0.3, "refseg": 0.2, "region_caption": 0.1, "caption": 0.05, "vqa": 0.23, "ground": 0.12}
# One scene in five is talked about in more than one turn.
MORE_TURNS, MAX_TURNS = 0.2, 3
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
    regions and region_masks: (m, 4g, 4g) soft masks of them; ids: the whole conversation with the image's placeholder;
    answers: where in `ids` each answer begins and ends; seg_masks: (n, 4g, 4g), one a [SEG] of the answers;
    boxes: (k, 4) xyxy in 0..1, one a `<bbox>`; seg_classes: (n,) class of what each [SEG] shows.
    """

    clip: Tensor
    sam: Tensor
    clip_cells: Cells
    sam_cells: Cells
    classes: Tensor
    region_masks: Tensor
    ids: list[int]
    answers: tuple[tuple[int, int], ...]
    seg_masks: Tensor
    seg_classes: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Turn:
    """A question with its marks, its answer with its markup, a mask a [SEG] and a box (xyxy in pixels) a `<bbox>`."""

    question: str
    answer: str
    masks: tuple[Mask, ...] = ()
    boxes: tuple[Box, ...] = ()


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
        count = int(rng.integers(2, MAX_TURNS + 1)) if rng.random() < MORE_TURNS else 1
        tasks = rng.choice(list(TASK_SHARES), size=count, p=list(TASK_SHARES.values()))
        return make_example(made, [turn(made, str(task), rng) for task in tasks], self.config, self.tokenizer)


def turn(made: Scene, task: str, rng: np.random.Generator) -> Turn:
    """One exchange about a scene, in the words that the service would put to the model."""
    match task:
        case "gcg":
            answer, masks = gcg(made)
            return Turn(conversation.gcg(), answer, masks)
        case "refseg":
            expression, answer, mask = refseg(made, rng)
            return Turn(conversation.refseg(expression), answer, () if mask is None else (mask,))
        case "region_caption":
            box, answer = region_caption(made, rng)
            return Turn(conversation.region_caption(), answer, boxes=(box,))
        case "vqa":
            asked = vqa(made, rng)
            boxes = () if asked.box is None else (asked.box,)
            return Turn(conversation.question(asked.question, len(boxes))[0], asked.answer, asked.masks, boxes)
        case "ground":
            given, answer, masks = ground(made, rng)
            return Turn(conversation.ground(given), answer, masks)
    return Turn(conversation.caption(), caption(made))


def make_example(made: Scene, turns: Sequence[Turn], config: GlammConfig, tokenizer: GlammTokenizer) -> Example:
    """A conversation about a scene, answered to its end."""
    image = Image.fromarray(made.image)
    side = config.sam.grid * 4
    height, width = made.background_mask.shape
    ids, answers = read_out([(said.question, said.answer) for said in turns], tokenizer)
    masks = [mask for said in turns for mask in said.masks]
    regions = [thing.mask for thing in made.objects] + [made.background_mask]
    names = [thing.category for thing in made.objects] + [made.background]
    class_of = {id(mask): CLASSES.index(name) for mask, name in zip(regions, names, strict=True)}
    boxes = torch.tensor([box for said in turns for box in said.boxes], dtype=torch.float32).reshape(-1, 4)
    return Example(
        clip=clip_pixels(image, config.clip.image_size),
        sam=sam_pixels(image, config.sam.image_size),
        clip_cells=cells(made, config.clip.grid),
        sam_cells=cells(made, config.sam.grid),
        classes=torch.tensor([CLASSES.index(name) for name in names]),
        region_masks=shrink(np.stack(regions), side),
        ids=ids,
        answers=answers,
        seg_masks=shrink(np.stack(masks), side) if masks else torch.zeros(0, side, side),
        seg_classes=torch.tensor([class_of[id(mask)] for mask in masks], dtype=torch.long),
        boxes=boxes / torch.tensor([width, height, width, height]),
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
