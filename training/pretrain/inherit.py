"""Beginning with the parts of a checkpoint, whose pictures may have been of another size."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from shared.model import parts
from shared.model.checkpoint import load_part
from training.pretrain.clip import ClipLearner
from training.pretrain.lmm import LmmLearner
from training.pretrain.sam import SamLearner

POSITIONS = "tower.positional_embedding"


def inherit(learner: ClipLearner | SamLearner | LmmLearner, checkpoint: Path) -> None:
    """Give the learner's encoder, SAM's decoder too, or the LMM and its region encoder, the checkpoint's weights.

    CLIP's learned positions are resized to its grid. Raises CheckpointError where the folder is no checkpoint,
    RuntimeError where other sizes differ.
    """
    cpu = torch.device("cpu")
    vision = load_part(checkpoint, "vision", parts.vision, cpu, torch.float32)
    match learner:
        case ClipLearner():
            state = vision.clip.state_dict()
            state[POSITIONS] = _resized(state[POSITIONS], learner.config.grid)
            learner.encoder.load_state_dict(state)
        case SamLearner():
            learner.encoder.load_state_dict(vision.grounding.state_dict())
            pixel = load_part(checkpoint, "pixel", parts.pixel, cpu, torch.float32)
            learner.decoder.load_state_dict(pixel.state_dict())
        case LmmLearner():
            learner.region.load_state_dict(vision.region.state_dict())
            llm = load_part(checkpoint, "llm", parts.llm, cpu, torch.float32)
            learner.lmm.load_state_dict(llm.state_dict())


def _resized(positions: Tensor, grid: int) -> Tensor:
    """(1 + g², width), the first row being CLS's own → (1 + grid², width)."""
    own, cells = positions[:1], positions[1:]
    side = round(len(cells) ** 0.5)
    maps = cells.T.reshape(1, -1, side, side)
    resized = F.interpolate(maps, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([own, resized.flatten(2)[0].T])
