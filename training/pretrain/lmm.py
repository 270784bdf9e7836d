"""The LMM and the region encoder on top of an image encoder that sees: a language model of one small world.

GLaMM begins with a language model that has read much and with projections that the pretraining on GranD made. In their
place a small LLM learns here from conversations alone, with three helping losses: the token of an image's cell, or of a
region, says the name of the thing there; some attention goes to what is spoken of (see `looking`); and a [SEG] vector
lies near the prompt by which the pixel decoder learned to segment the same (see `sam`). The mask decoder itself takes
no part, which makes this several times faster.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from shared.masks import Mask
from shared.model.clip import GlobalImageEncoder
from shared.model.config import GlammConfig
from shared.model.images import clip_pixels
from shared.model.lmm import Lmm
from shared.model.region import RegionEncoder
from shared.model.tokenizer import GlammTokenizer
from training.conversations import read_out
from training.forward import see
from training.language.conversations import Turn, dialogue
from training.language.world import usage
from training.losses import next_token
from training.pretrain.branches import Branch, ReadBranches, read_branches
from training.pretrain.cells import CLASSES, IGNORE, cells
from training.pretrain.looking import Looks, Watched, looks
from training.pretrain.phase import Learner
from training.pretrain.sam import Prompt, PromptVectors, centred
from training.scenes.categories import CATEGORIES
from training.scenes.compose import Purpose, scene, scene_generator
from training.scenes.scene import Scene

WORD_WEIGHT, LOOK_WEIGHT, VECTOR_WEIGHT = 0.3, 0.3, 1.0
DIALOGUES = 5
"""About each picture."""
TURNS = 3
"""At most, of each."""


@dataclass(frozen=True)
class Batch:
    """pixels: (b, 3, S, S). shown: (b·g²,) ids of the words for what the cells show, IGNORE where that is no thing;
    named: (k,) such words for what is in each `<bbox>`.

    category, colour, box, boxed: what each [SEG] of all the answers is about, as `PromptVectors` takes them.
    """

    pixels: Tensor
    branches: Sequence[Branch]
    shown: Tensor
    named: Tensor
    looks: Looks
    category: Tensor
    colour: Tensor
    box: Tensor
    boxed: Tensor


class LmmLearner(Learner):
    def __init__(
        self, config: GlammConfig, tokenizer: GlammTokenizer, clip: GlobalImageEncoder, prompts: PromptVectors
    ) -> None:
        """clip and prompts are done learning, and no part of what is saved."""
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.lmm = Lmm(config.llm, config.clip.width, config.sam.prompt_dim)
        self.region = RegionEncoder(config.region, config.clip, config.llm.hidden)
        self._given = (clip.eval().requires_grad_(False), prompts.eval().requires_grad_(False))
        self._watched = Watched(self.lmm)
        self._usage = usage("train")
        self._words = torch.tensor([tokenizer.encode(f"the {name}")[1] for name in CATEGORIES])
        # Vectors are told apart by their differences, so an error counts in units of how much they vary.
        self._spread = float(self._given[1].category.weight.var())
        # Questions that begin differently: what their conversations have in common comes before any question.
        one, other = (read_out([(question, "")], tokenizer)[0] for question in ("A", "7"))
        self._begin = one[: next(at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)]

    def examples(self, first: int, batch: int) -> Iterator[Batch]:
        for start in count(first, batch):
            yield self._batch(range(start, start + batch))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        clip, prompts = self._given
        with torch.no_grad():
            vectors = prompts(batch.category, batch.colour, batch.box, batch.boxed)
        said = self._read(clip, batch)
        logits = self.lmm.logits(said.states[said.predictors])
        text = next_token(logits, said.targets)
        looking, share = self._watched.loss(batch.looks, said.first)
        apart = (self.lmm.prompt_vectors(said.states[said.seg_predictors]) - vectors).square().mean() / self._spread
        words = self._words_loss(said, batch)
        right = (logits.argmax(-1) == said.targets).float().mean()
        figures = {"text": text.item(), "right": right.item(), "words": words.item()}
        figures |= {"looking": share.item(), "apart": apart.item()}
        return text + WORD_WEIGHT * words + LOOK_WEIGHT * looking + VECTOR_WEIGHT * apart, figures

    def _read(self, clip: GlobalImageEncoder, batch: Batch) -> ReadBranches:
        boxes = [
            torch.cat([branch.boxes for branch in batch.branches if branch.owner == owner])
            for owner in range(len(batch.pixels))
        ]
        seen = see(clip, self.region, self.config, batch.pixels, boxes)
        # Of each picture they are in its branches' order.
        left = dict(seen.regions)
        regions = list[Tensor | None]()
        for branch in batch.branches:
            wanted = len(branch.boxes)
            mine = left.get(branch.owner)
            regions.append(mine[:wanted] if mine is not None else None)
            if mine is not None:
                left[branch.owner] = mine[wanted:]
        tokens = self.tokenizer
        return read_branches(
            self.lmm, self._begin, batch.branches, seen.global_tokens, regions, tokens.bbox, tokens.seg
        )

    def _words_loss(self, said: ReadBranches, batch: Batch) -> Tensor:
        """Of the cells that show a thing, and of the regions."""
        things, known = batch.shown != IGNORE, batch.named != IGNORE
        at_cells = next_token(self.lmm.logits(said.images.flatten(0, 1)[things]), batch.shown[things])
        if not known.any():
            return at_cells
        marks = [
            start + at
            for start, branch in zip(said.starts, batch.branches, strict=True)
            for at, token in enumerate(branch.ids)
            if token == self.tokenizer.bbox
        ]
        at_regions = self.lmm.logits(said.states[torch.tensor(marks)[known]])
        return at_cells + next_token(at_regions, batch.named[known])

    def _batch(self, numbers: range) -> Batch:
        made = [scene(number, "train") for number in numbers]
        drawn = list[tuple[Branch, tuple[Turn, ...]]]()
        for owner, number in enumerate(numbers):
            rng = scene_generator(number, "train", Purpose.DIALOGUE)
            for _ in range(DIALOGUES):
                turns = dialogue(made[owner], self._usage, rng, int(rng.integers(1, TURNS + 1)))
                drawn.append((self._branch(owner, made[owner], turns), turns))
        drawn.sort(key=lambda one: len(one[0].ids))
        branches, said = [branch for branch, _ in drawn], [turns for _, turns in drawn]
        about = [
            meant(made[branch.owner], mask)
            for branch, turns in zip(branches, said, strict=True)
            for turn in turns
            for mask in turn.masks
        ]
        return Batch(
            pixels=torch.stack([clip_pixels(Image.fromarray(one.image), self.config.clip.image_size) for one in made]),
            branches=branches,
            shown=torch.cat([self._shown(one) for one in made]),
            named=torch.tensor(
                [
                    self._name(made[branch.owner], turn)
                    for branch, turns in zip(branches, said, strict=True)
                    for turn in turns
                    for _ in turn.boxes
                ],
                dtype=torch.long,
            ),
            looks=looks(made, said, branches, self.tokenizer, self.config.clip.grid),
            category=torch.tensor([prompt.category for prompt in about], dtype=torch.long),
            colour=torch.tensor([prompt.colour for prompt in about], dtype=torch.long),
            box=torch.tensor([prompt.box or (0.0,) * 4 for prompt in about]).reshape(-1, 4),
            boxed=torch.tensor([float(prompt.box is not None) for prompt in about]),
        )

    def _branch(self, owner: int, made: Scene, said: Sequence[Turn]) -> Branch:
        ids, answers = read_out([(turn.question, turn.answer) for turn in said], self.tokenizer)
        skipped = len(self._begin)
        height, width = made.background_mask.shape
        boxes = torch.tensor([box for turn in said for box in turn.boxes], dtype=torch.float32).reshape(-1, 4)
        return Branch(
            owner,
            ids[skipped:],
            tuple((begin - skipped, end - skipped) for begin, end in answers),
            boxes / torch.tensor([width, height, width, height]),
        )

    def _shown(self, made: Scene) -> Tensor:
        labels = cells(made, self.config.clip.grid)
        words = self._words[labels.category.clamp(max=len(self._words) - 1)]
        return torch.where(labels.size == IGNORE, IGNORE, words).flatten()

    def _name(self, made: Scene, turn: Turn) -> int:
        if turn.about is None:
            return IGNORE
        return int(self._words[CLASSES.index(made.objects[turn.about].category)])


def meant(made: Scene, mask: Mask) -> Prompt:
    """How the pixel decoder was asked for this mask: a thing by all that is known of it, several by what is shared."""
    members = [thing for thing in made.objects if thing.mask is mask or not np.any(thing.mask & ~mask)]
    if not members:
        return Prompt.of_background(made)
    categories, colours = {thing.category for thing in members}, {thing.colour for thing in members}
    return Prompt.of_things(
        categories.pop() if len(categories) == 1 else "",
        colours.pop() if len(colours) == 1 else "",
        centred(members[0].box, mask.shape) if len(members) == 1 else None,
        mask,
    )
