"""The LMM and the region encoder on top of an image encoder that sees: a language model of one small world.

GLaMM begins with a language model that has read much and with projections that the pretraining on GranD made. In their
place a small LLM learns here from conversations alone, with two helping losses: an image token says the name of the
thing that its cell shows, and a [SEG] vector lies near the prompt by which the pixel decoder learned to segment the
same (see `sam`). The mask decoder itself takes no part, which makes this several times faster.
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
from training.conversations import Span, read_out
from training.forward import read, see
from training.language.conversations import MAX_TURNS, Turn, dialogue
from training.language.world import usage
from training.losses import next_token
from training.pretrain.cells import IGNORE, cells
from training.pretrain.phase import Learner
from training.pretrain.sam import Prompt, PromptVectors, centred
from training.scenes.categories import CATEGORIES
from training.scenes.compose import Purpose, scene, scene_generator
from training.scenes.scene import Scene

WORD_WEIGHT, VECTOR_WEIGHT = 0.3, 1.0


@dataclass(frozen=True)
class Batch:
    """pixels: (b, 3, S, S). shown: (b·g²,) ids of the words for what the cells show, IGNORE where that is no thing.

    ids, answers, boxes: of each conversation, as in `training.batches`. category, colour, box, boxed: what each [SEG]
    of all the answers is about, as `PromptVectors` takes them.
    """

    pixels: Tensor
    shown: Tensor
    ids: Sequence[list[int]]
    answers: Sequence[Sequence[Span]]
    boxes: Sequence[Tensor]
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
        self._usage = usage("train")
        self._words = torch.tensor([tokenizer.encode(f"the {name}")[1] for name in CATEGORIES])
        # Vectors are told apart by their differences, so an error counts in units of how much they vary.
        self._spread = float(self._given[1].category.weight.var())

    def examples(self, first: int, batch: int) -> Iterator[Batch]:
        for start in count(first, batch):
            yield self._batch(range(start, start + batch))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        clip, prompts = self._given
        with torch.no_grad():
            vectors = prompts(batch.category, batch.colour, batch.box, batch.boxed)
        seen = see(clip, self.region, self.config, batch.pixels, batch.boxes)
        said = read(self.lmm, batch.ids, batch.answers, seen, self.tokenizer.bbox, self.tokenizer.seg)
        logits = self.lmm.logits(said.states[said.predictors])
        text = next_token(logits, said.targets)
        things = batch.shown != IGNORE
        words = next_token(self.lmm.logits(said.states[said.image_positions[things]]), batch.shown[things])
        apart = (self.lmm.prompt_vectors(said.states[said.seg_predictors]) - vectors).square().mean() / self._spread
        right = (logits.argmax(-1) == said.targets).float().mean()
        figures = {"text": text.item(), "right": right.item(), "words": words.item(), "apart": apart.item()}
        return text + WORD_WEIGHT * words + VECTOR_WEIGHT * apart, figures

    def _batch(self, numbers: range) -> Batch:
        made = [scene(number, "train") for number in numbers]
        said = [self._dialogue(each, number) for each, number in zip(made, numbers, strict=True)]
        read_outs = [read_out([(turn.question, turn.answer) for turn in turns], self.tokenizer) for turns in said]
        about = [
            meant(each, mask) for each, turns in zip(made, said, strict=True) for turn in turns for mask in turn.masks
        ]
        shown = [self._shown(each) for each in made]
        return Batch(
            pixels=torch.stack(
                [clip_pixels(Image.fromarray(each.image), self.config.clip.image_size) for each in made]
            ),
            shown=torch.cat(shown),
            ids=[ids for ids, _ in read_outs],
            answers=[answers for _, answers in read_outs],
            boxes=[_boxes(each, turns) for each, turns in zip(made, said, strict=True)],
            category=torch.tensor([prompt.category for prompt in about], dtype=torch.long),
            colour=torch.tensor([prompt.colour for prompt in about], dtype=torch.long),
            box=torch.tensor([prompt.box or (0.0,) * 4 for prompt in about]).reshape(-1, 4),
            boxed=torch.tensor([float(prompt.box is not None) for prompt in about]),
        )

    def _dialogue(self, made: Scene, number: int) -> tuple[Turn, ...]:
        rng = scene_generator(number, "train", Purpose.DIALOGUE)
        return dialogue(made, self._usage, rng, int(rng.integers(1, MAX_TURNS + 1)))

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


def _boxes(made: Scene, turns: Sequence[Turn]) -> Tensor:
    height, width = made.background_mask.shape
    boxes = torch.tensor([box for turn in turns for box in turn.boxes], dtype=torch.float32).reshape(-1, 4)
    return boxes / torch.tensor([width, height, width, height])
