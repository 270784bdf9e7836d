"""The LMM and the region encoder on top of an image encoder that sees: a language model of one small world.

GLaMM begins with a language model that has read much and with projections that the pretraining on GranD made. In their
place a small LLM learns here from conversations alone, with some help: the token of an image's cell says the name of
the thing there, and a region's points the way of the words for it; some attention goes to what is spoken of (see
`looking`); and a [SEG] vector lies near the prompt by which the pixel decoder learned to segment the same (see `sam`).
The mask decoder itself takes no part, which makes this several times faster.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from shared.masks import Box, Mask
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
from training.pretrain.branches import Branch, ReadBranches, read_branches, together
from training.pretrain.cells import CLASSES, IGNORE, cells
from training.pretrain.looking import Looks, Watched, looks
from training.pretrain.phase import Learner
from training.pretrain.sam import Prompt, PromptVectors, centred
from training.scenes.categories import CATEGORIES
from training.scenes.colours import COLOURS
from training.scenes.compose import Purpose, scene, scene_generator
from training.scenes.scene import Scene

WORD_WEIGHT, LOOK_WEIGHT, VECTOR_WEIGHT = 0.3, 0.3, 1.0
SHARPNESS = 15.0
"""Of the choice among words by their angles to a region's token."""
DIALOGUES = 5
"""About each picture."""
TURNS = 3
"""At most, of each."""


@dataclass(frozen=True)
class Batch:
    """pixels: (b, 3, S, S). shown: (b·g²,) ids of the words for what the cells show, IGNORE where that is no thing.

    things: of each picture the boxes of all its things, (k, 4) xyxy in 0..1; named, coloured: indices of their
    categories and colours, IGNORE where one has no colour.

    category, colour, box, boxed: what each [SEG] of all the answers is about, as `PromptVectors` takes them.
    """

    pixels: Tensor
    branches: Sequence[Branch]
    shown: Tensor
    things: Sequence[Tensor]
    named: Tensor
    coloured: Tensor
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
        # They stay on the CPU, where the processes that compose batches read them too.
        self._words = torch.tensor([tokenizer.encode(f"the {name}")[1] for name in CATEGORIES])
        self._colour_words = torch.tensor([tokenizer.encode(f"the {name}")[1] for name in COLOURS])
        # Vectors are told apart by their differences, so an error counts in units of how much they vary.
        self._spread = float(self._given[1].category.weight.var())
        # Questions that begin differently: what their conversations have in common comes before any question.
        one, other = (read_out([(question, "")], tokenizer)[0] for question in ("A", "7"))
        self._begin = one[: next(at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)]

    @property
    def given(self) -> Sequence[nn.Module]:
        return self._given

    def examples(self, first: int, batch: int, apart: int) -> Iterator[Batch]:
        for start in count(first, apart):
            yield self._batch(range(start, start + batch))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        clip, prompts = self._given
        with torch.no_grad():
            vectors = prompts(batch.category, batch.colour, batch.box, batch.boxed)
        said, region_tokens = self._read(clip, batch)
        logits = self.lmm.logits(said.states[said.predictors])
        text = next_token(logits, said.targets)
        looking, share = self._watched.loss(batch.looks, said.first, together(batch.pixels.device))
        apart = (self.lmm.prompt_vectors(said.states[said.seg_predictors]) - vectors).square().mean() / self._spread
        words = self._words_loss(said, batch)
        regions, regions_right = self._region_loss(region_tokens, batch)
        right = (logits.argmax(-1) == said.targets).float().mean()
        figures = {"text": text.item(), "right": right.item(), "words": words.item()}
        figures |= {"looking": share.item(), "apart": apart.item(), "regions": regions_right.item()}
        return text + WORD_WEIGHT * (words + regions) + LOOK_WEIGHT * looking + VECTOR_WEIGHT * apart, figures

    def _read(self, clip: GlobalImageEncoder, batch: Batch) -> tuple[ReadBranches, Tensor]:
        """And the region tokens of all things, picture by picture."""
        boxes = [
            torch.cat([things, *(branch.boxes for branch in batch.branches if branch.owner == owner)])
            for owner, things in enumerate(batch.things)
        ]
        seen = see(clip, self.region, self.config, batch.pixels, boxes)
        left = [seen.regions[owner] for owner in range(len(boxes))]
        tokens = torch.cat([mine[: len(things)] for mine, things in zip(left, batch.things, strict=True)])
        # Behind those of the things, each picture's regions are in its branches' order.
        left = [mine[len(things) :] for mine, things in zip(left, batch.things, strict=True)]
        regions = list[Tensor | None]()
        for branch in batch.branches:
            regions.append(left[branch.owner][: len(branch.boxes)])
            left[branch.owner] = left[branch.owner][len(branch.boxes) :]
        bbox, seg = self.tokenizer.bbox, self.tokenizer.seg
        return read_branches(self.lmm, self._begin, batch.branches, seen.global_tokens, regions, bbox, seg), tokens

    def _words_loss(self, said: ReadBranches, batch: Batch) -> Tensor:
        things = batch.shown != IGNORE
        return next_token(self.lmm.logits(said.images.flatten(0, 1)[things]), batch.shown[things])

    def _region_loss(self, tokens: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """How far the regions are from the words' own embeddings, among which they lie once the LLM reads them; and how
        often the nearest is the right one.
        """
        # By their directions: the LLM normalises what it reads, so that lengths mean nothing.
        words = SHARPNESS * F.normalize(self.lmm.llama.model.embed_tokens.weight, dim=1)
        directions = F.normalize(tokens, dim=1)
        names = directions @ words[self._words.to(words.device)].T
        colours = directions @ words[self._colour_words.to(words.device)].T
        loss = next_token(names, batch.named)
        known = batch.coloured != IGNORE
        if known.any():
            loss = loss + next_token(colours[known], batch.coloured[known])
        return loss, (names.argmax(-1) == batch.named).float().mean()

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
            things=[_boxes(one, [thing.box for thing in one.objects]) for one in made],
            named=torch.tensor([CLASSES.index(thing.category) for one in made for thing in one.objects]),
            coloured=torch.tensor(
                [COLOURS.index(thing.colour) if thing.colour else IGNORE for one in made for thing in one.objects]
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
        return Branch(
            owner,
            ids[skipped:],
            tuple((begin - skipped, end - skipped) for begin, end in answers),
            _boxes(made, [box for turn in said for box in turn.boxes]),
        )

    def _shown(self, made: Scene) -> Tensor:
        labels = cells(made, self.config.clip.grid)
        words = self._words[labels.category.clamp(max=len(self._words) - 1)]
        return torch.where(labels.size == IGNORE, IGNORE, words).flatten()


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


def _boxes(made: Scene, boxes: Sequence[Box]) -> Tensor:
    """(k, 4) xyxy in 0..1."""
    height, width = made.background_mask.shape
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) / torch.tensor([width, height, width, height])
