"""Beginning with the image encoders of a checkpoint, whose pictures may have been of another size."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from shared.model import parts
from shared.model.checkpoint import load_part
from training.pretrain.clip import ClipLearner
from training.pretrain.sam import SamLearner

POSITIONS = "tower.positional_embedding"


def inherit(learner: ClipLearner | SamLearner, checkpoint: Path) -> None:
    """Give the learner's encoder, and SAM's decoder, the checkpoint's weights.

    CLIP's learned positions are resized to its grid. Raises CheckpointError where the folder is no checkpoint,
    RuntimeError where other sizes differ.
    """
    cpu = torch.device("cpu")
    vision = load_part(checkpoint, "vision", parts.vision, cpu, torch.float32)
    if isinstance(learner, ClipLearner):
        state = vision.clip.state_dict()
        state[POSITIONS] = _resized(state[POSITIONS], learner.config.grid)
        learner.encoder.load_state_dict(state)
    else:
        learner.encoder.load_state_dict(vision.grounding.state_dict())
        pixel = load_part(checkpoint, "pixel", parts.pixel, cpu, torch.float32)
        learner.decoder.load_state_dict(pixel.state_dict())


def _resized(positions: Tensor, grid: int) -> Tensor:
    """(1 + g², width), the first row being CLS's own → (1 + grid², width)."""
    own, cells = positions[:1], positions[1:]
    side = round(len(cells) ** 0.5)
    maps = cells.T.reshape(1, -1, side, side)
    resized = F.interpolate(maps, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([own, resized.flatten(2)[0].T])
