"""Second half of the training: GLaMM's own, on frozen image encoders, with the paper's three losses.

Trained: region encoder, projector, LLM, L-P projection and mask decoder. The paper adapts a trained LLM by LoRA; a
small model has none to adapt, so its LLM is trained whole.
"""

import torch
from torch import Tensor, nn

from shared.model import parts
from shared.model.config import GlammConfig
from shared.model.lmm import expanded_positions
from shared.model.tokenizer import GlammTokenizer
from training.examples import Example
from training.losses import BCE_WEIGHT, DICE_WEIGHT, TEXT_WEIGHT, mask_bce, mask_dice, next_token


class GlammTrainer(nn.Module):
    def __init__(self, config: GlammConfig, tokenizer: GlammTokenizer) -> None:
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.vision = parts.vision(config)
        self.lmm = parts.llm(config)
        self.pixel = parts.pixel(config)
        self.vision.clip.requires_grad_(False)
        self.vision.grounding.requires_grad_(False)

    def forward(self, batch: list[Example]) -> tuple[Tensor, dict[str, float]]:
        """The weighted losses of a batch, and figures to watch."""
        global_tokens, regions, embeddings = self._see(batch)
        states, targets, chosen, vectors = self._read(batch, global_tokens, regions)
        logits = self.lmm.logits(states[chosen])
        text = next_token(logits, targets)
        owners = [index for index, example in enumerate(batch) for _ in example.seg_masks]
        wanted = torch.cat([example.seg_masks for example in batch])
        masks, _ = self.pixel(embeddings[owners], vectors)
        bce, dice = mask_bce(masks, wanted), mask_dice(masks, wanted)
        loss = TEXT_WEIGHT * text + BCE_WEIGHT * bce + DICE_WEIGHT * dice
        hit, truth = masks > 0, wanted > 0.5
        iou = (hit & truth).flatten(1).sum(1) / (hit | truth).flatten(1).sum(1).clamp(min=1)
        return loss, {
            "loss": loss.item(),
            "text": text.item(),
            "token_accuracy": (logits.argmax(-1) == targets).float().mean().item(),
            "bce": bce.item(),
            "dice": dice.item(),
            "iou": iou.mean().item(),
        }

    @torch.no_grad()
    def _towers(self, batch: list[Example], boxed: list[int]) -> tuple[Tensor, list[Tensor], Tensor]:
        clip, region = self.config.clip, self.config.region
        pixels = torch.stack([example.clip for example in batch])
        levels = region.levels if boxed else ()
        global_tokens, *states = self.vision.clip(pixels, [clip.select_layer, *levels])
        embeddings = self.vision.grounding(torch.stack([example.sam for example in batch]))
        return global_tokens, [state[boxed] for state in reversed(states)], embeddings

    def _see(self, batch: list[Example]) -> tuple[Tensor, dict[int, Tensor], Tensor]:
        """Global tokens (b, t, width), region tokens by example, SAM embeddings (b, D, g, g)."""
        boxes = {index: example.box for index, example in enumerate(batch) if example.box is not None}
        global_tokens, levels, embeddings = self._towers(batch, list(boxes))
        regions: dict[int, Tensor] = {}
        if boxes:
            tokens = self.vision.region(levels, [box[None] for box in boxes.values()])
            regions = dict(zip(boxes, tokens, strict=True))
        return global_tokens, regions, embeddings

    def _read(
        self, batch: list[Example], global_tokens: Tensor, regions: dict[int, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All states (b·l, hidden), target ids, the indices of the states that predict them, and the prompt vectors."""
        sequences = [
            self.lmm.embed(torch.tensor(example.ids), global_tokens[index], regions.get(index), self.tokenizer.bbox)
            for index, example in enumerate(batch)
        ]
        # Padding stands on the right, where causal attention keeps it from everything that counts.
        padded = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
        states = self.lmm.states(padded).flatten(0, 1)
        targets, chosen, seg = [], [], []
        for index, example in enumerate(batch):
            positions = expanded_positions(example.ids, self.config.clip.tokens)
            for at in range(example.answer_at, len(example.ids)):
                before = index * padded.shape[1] + positions[at] - 1
                targets.append(example.ids[at])
                chosen.append(before)
                if example.ids[at] == self.tokenizer.seg:
                    seg.append(before)
        vectors = self.lmm.prompt_vectors(states[torch.tensor(seg, dtype=torch.long)])
        return states, torch.tensor(targets), torch.tensor(chosen), vectors
