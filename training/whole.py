"""GLaMM's own training, with the paper's three losses.

Trained: region encoder, projector, LLM, L-P projection and mask decoder; on top of weights that know scenes already,
the two image encoders too. The paper adapts a trained LLM by LoRA; a small model has none to adapt, so its LLM is
trained whole. It has never read a word either, and two helping losses stand in for what the released parts knew
beforehand: an image token says the word of what its cell shows, and, for a model from nothing, a [SEG] vector lies
near the vector to which the mask decoder learned to answer for that class.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from shared.model import parts
from shared.model.config import GlammConfig
from shared.model.tokenizer import GlammTokenizer
from training.examples import CLASSES, Example
from training.forward import read, see
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
        clip, sam = torch.stack([example.clip for example in batch]), torch.stack([example.sam for example in batch])
        seen = see(self.vision, self.config, clip, sam, [example.boxes for example in batch])
        conversations, answers = [example.ids for example in batch], [example.answers for example in batch]
        said = read(self.lmm, conversations, answers, seen, self.tokenizer.bbox, self.tokenizer.seg)
        targets, vectors = said.targets, self.lmm.prompt_vectors(said.states[said.seg_predictors])
        logits = self.lmm.logits(said.states[said.predictors])
        text = next_token(logits, targets)
        shown = self.class_words[torch.stack([example.clip_cells.category for example in batch]).flatten()]
        words = next_token(self.lmm.logits(said.states[said.image_positions]), shown)
        apart = self._apart(vectors.float(), torch.cat([example.seg_classes for example in batch]))
        owners = [index for index, example in enumerate(batch) for _ in example.seg_masks]
        wanted = torch.cat([example.seg_masks for example in batch])
        masks, _ = self.pixel(seen.embeddings[owners], vectors)
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
