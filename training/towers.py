"""First half of the training: the two image encoders, which the released model takes from CLIP and SAM.

A small GLaMM has no such towers to start from, so they learn here by dense supervision: every cell of CLIP's grid
says what it shows, and SAM's encoder and mask decoder segment a region asked for by a learned vector of its class.
The heads and those vectors are thrown away afterwards; the encoders then stay frozen, as the paper's do.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.model import parts
from shared.model.clip import GlobalImageEncoder
from shared.model.config import GlammConfig
from training.examples import CLASSES, IGNORE, POSITION_WORDS, Cells, Example
from training.losses import BCE_WEIGHT, DICE_WEIGHT, mask_bce, mask_dice
from training.scenes.compose import MAX_OBJECTS
from training.scenes.language import SIZE_WORDS
from training.train import Learner

MASKS_PER_SCENE = 2


class CellHeads(nn.Module):
    """Linear read-outs of a cell's token: its class, the object's left-to-right rank, size and position words."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = {
            "category": len(CLASSES),
            "rank": MAX_OBJECTS,
            "size": 1 + len(SIZE_WORDS),
            "position": len(POSITION_WORDS),
        }
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})

    def loss(self, tokens: Tensor, cells: list[Cells]) -> tuple[Tensor, dict[str, float]]:
        """tokens: (b, g², width) → summed cross-entropies and the accuracy of each head."""
        total, accuracy = tokens.new_zeros(()), {}
        for name, head in self.heads.items():
            wanted = torch.stack([getattr(cell, name) for cell in cells]).flatten()
            logits = head(tokens).flatten(0, 1).float()
            total = total + F.cross_entropy(logits, wanted, ignore_index=IGNORE)
            known = wanted != IGNORE
            accuracy[name] = (logits.argmax(-1) == wanted)[known].float().mean().item()
        return total, accuracy


class ClipTrainer(Learner):
    """The global image encoder by itself, on weights that see already: many more scenes in the same time."""

    def __init__(self, config: GlammConfig, clip: GlobalImageEncoder) -> None:
        super().__init__()
        self.clip = clip
        self.heads = CellHeads(config.clip.width)

    def forward(self, batch: list[Example]) -> tuple[Tensor, dict[str, float]]:
        """The summed losses of a batch, and figures to watch."""
        tokens = self.clip.global_tokens(torch.stack([example.clip for example in batch]))
        loss, seen = self.heads.loss(tokens, [example.clip_cells for example in batch])
        return loss, {"loss": loss.item(), **seen}


class TowerTrainer(Learner):
    def __init__(self, config: GlammConfig) -> None:
        super().__init__()
        self.vision = parts.vision(config)
        self.pixel = parts.pixel(config)
        self.clip_heads = CellHeads(config.clip.width)
        self.sam_heads = CellHeads(config.sam.prompt_dim)
        self.class_prompts = nn.Embedding(len(CLASSES), config.sam.prompt_dim)

    def forward(self, batch: list[Example]) -> tuple[Tensor, dict[str, float]]:
        """The summed losses of a batch, and figures to watch."""
        tokens = self.vision.clip.global_tokens(torch.stack([example.clip for example in batch]))
        clip_loss, clip_seen = self.clip_heads.loss(tokens, [example.clip_cells for example in batch])
        embeddings = self.vision.grounding(torch.stack([example.sam for example in batch]))
        sam_loss, sam_seen = self.sam_heads.loss(
            embeddings.flatten(2).transpose(1, 2), [example.sam_cells for example in batch]
        )
        owner, wanted, classes = [], [], []
        for index, example in enumerate(batch):
            for region in torch.randperm(len(example.classes))[:MASKS_PER_SCENE].tolist():
                owner.append(index)
                classes.append(example.classes[region])
                wanted.append(example.region_masks[region])
        targets = torch.stack(wanted)
        masks, _ = self.pixel(embeddings[owner], self.class_prompts(torch.stack(classes)))
        bce, dice = mask_bce(masks, targets), mask_dice(masks, targets)
        loss = clip_loss + sam_loss + BCE_WEIGHT * bce + DICE_WEIGHT * dice
        hit, truth = masks > 0, targets > 0.5
        iou = ((hit & truth).flatten(1).sum(1) / (hit | truth).flatten(1).sum(1).clamp(min=1)).mean()
        return loss, {
            "loss": loss.item(),
            **{f"clip_{name}": value for name, value in clip_seen.items()},
            **{f"sam_{name}": value for name, value in sam_seen.items()},
            "iou": iou.item(),
        }
