"""GLaMM's own training, with the paper's three losses.

Trained: region encoder, projector, LLM, L-P projection and mask decoder; on top of weights that know scenes already,
the two image encoders too. The paper adapts a trained LLM by LoRA; a small model has none to adapt, so its LLM is
trained whole. It has never read a word either, and two helping losses stand in for what the released parts knew
beforehand: an image token says the word of what its cell shows, and, for a model from nothing, a [SEG] vector lies
near the vector to which the mask decoder learned to answer for that class.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.model import parts
from shared.model.config import GlammConfig
from shared.model.lmm import IMAGE_PLACEHOLDER, expanded_positions
from shared.model.tokenizer import GlammTokenizer
from training.examples import CLASSES, Example
from training.losses import BCE_WEIGHT, DICE_WEIGHT, TEXT_WEIGHT, mask_bce, mask_dice, next_token
from training.train import Learner

WORD_WEIGHT, VECTOR_WEIGHT = 0.5, 0.5
# The mask decoder comes trained from the first phase and would unlearn under prompts that mean nothing yet.
DECODER_RATE = 0.1


class GlammTrainer(Learner):
    """class_prompts: (classes, prompt_dim), the vectors that the decoder was trained with in the first phase.

    None for a model whose weights come from an earlier training: then the mask decoder is trained as fast as everything
    else, and with `towers` the two image encoders as well.
    """

    class_prompts: Tensor | None

    def __init__(
        self, config: GlammConfig, tokenizer: GlammTokenizer, class_prompts: Tensor | None, towers: bool = False
    ) -> None:
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.vision = parts.vision(config)
        self.lmm = parts.llm(config)
        self.pixel = parts.pixel(config)
        self.vision.clip.requires_grad_(towers)
        self.vision.grounding.requires_grad_(towers)
        self.register_buffer("class_prompts", class_prompts)
        # A background's article says nothing of it: "a grassy field" is told by "grassy".
        words = [name.removeprefix("a ") for name in CLASSES]
        self.class_words = torch.tensor([tokenizer.encode(f"the {word}")[1] for word in words])

    def rate_of(self, name: str) -> float:
        """The learning rate of a parameter, as a share of the phase's."""
        return DECODER_RATE if self.class_prompts is not None and name.startswith("pixel.") else 1.0

    def forward(self, batch: list[Example]) -> tuple[Tensor, dict[str, float]]:
        """The weighted losses of a batch, and figures to watch."""
        global_tokens, regions, embeddings = self._see(batch)
        states, targets, chosen, vectors, cells = self._read(batch, global_tokens, regions)
        logits = self.lmm.logits(states[chosen])
        text = next_token(logits, targets)
        shown = self.class_words[torch.stack([example.clip_cells.category for example in batch]).flatten()]
        words = next_token(self.lmm.logits(states[cells]), shown)
        apart = self._apart(vectors.float(), torch.cat([example.seg_classes for example in batch]))
        owners = [index for index, example in enumerate(batch) for _ in example.seg_masks]
        wanted = torch.cat([example.seg_masks for example in batch])
        masks, _ = self.pixel(embeddings[owners], vectors)
        bce, dice = mask_bce(masks, wanted), mask_dice(masks, wanted)
        loss = TEXT_WEIGHT * text + BCE_WEIGHT * bce + DICE_WEIGHT * dice + WORD_WEIGHT * words + VECTOR_WEIGHT * apart
        hit, truth = masks > 0, wanted > 0.5
        iou = (hit & truth).flatten(1).sum(1) / (hit | truth).flatten(1).sum(1).clamp(min=1)
        return loss, {
            "loss": loss.item(),
            "text": text.item(),
            "words": words.item(),
            "apart": apart.item(),
            "token_accuracy": (logits.argmax(-1) == targets).float().mean().item(),
            "bce": bce.item(),
            "dice": dice.item(),
            "iou": iou.mean().item(),
        }

    def _apart(self, vectors: Tensor, classes: Tensor) -> Tensor:
        """How far (n, prompt_dim) vectors are from their class's: beside other classes' and by itself. 0 for none."""
        if self.class_prompts is None or not len(vectors):
            return vectors.sum() * 0
        likeness = vectors @ self.class_prompts.T / vectors.shape[1] ** 0.5
        return F.cross_entropy(likeness, classes) + F.mse_loss(vectors, self.class_prompts[classes])

    def _see(self, batch: list[Example]) -> tuple[Tensor, dict[int, Tensor], Tensor]:
        """Global tokens (b, t, width), region tokens by example, SAM embeddings (b, D, g, g)."""
        boxed = [index for index, example in enumerate(batch) if len(example.boxes)]
        levels = self.config.region.levels if boxed else ()
        pixels = torch.stack([example.clip for example in batch])
        global_tokens, *states = self.vision.clip(pixels, [self.config.clip.select_layer, *levels])
        regions: dict[int, Tensor] = {}
        if boxed:
            shallow_to_deep = [state[boxed] for state in reversed(states)]
            tokens = self.vision.region(shallow_to_deep, [batch[index].boxes for index in boxed])
            regions = dict(zip(boxed, tokens, strict=True))
        return global_tokens, regions, self.vision.grounding(torch.stack([example.sam for example in batch]))

    def _read(
        self, batch: list[Example], global_tokens: Tensor, regions: dict[int, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All states (b·l, hidden), target ids, which states predict them, prompt vectors, the image's own states."""
        sequences = [
            self.lmm.embed(torch.tensor(example.ids), global_tokens[index], regions.get(index), self.tokenizer.bbox)
            for index, example in enumerate(batch)
        ]
        # Padding stands on the right, where causal attention keeps it from everything that counts.
        padded = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
        states = self.lmm.states(padded).flatten(0, 1)
        targets, chosen, seg, cells = list[int](), list[int](), list[int](), list[int]()
        for index, example in enumerate(batch):
            positions = expanded_positions(example.ids, self.config.clip.tokens)
            image_at = index * padded.shape[1] + positions[example.ids.index(IMAGE_PLACEHOLDER)]
            cells.extend(range(image_at, image_at + self.config.clip.tokens))
            for at in (at for begin, end in example.answers for at in range(begin, end)):
                before = index * padded.shape[1] + positions[at] - 1
                targets.append(example.ids[at])
                chosen.append(before)
                if example.ids[at] == self.tokenizer.seg:
                    seg.append(before)
        vectors = self.lmm.prompt_vectors(states[torch.tensor(seg, dtype=torch.long)])
        return states, torch.tensor(targets), torch.tensor(chosen), vectors, torch.tensor(cells)
