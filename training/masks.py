"""True masks at the size of a grid: an encoder's, or the one in which the pixel decoder answers."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F


def shrink(masks: npt.NDArray[np.bool_], side: int) -> Tensor:
    """(n, H, W) bool → (n, side, side) float32: the share of each cell that is covered."""
    return F.adaptive_avg_pool2d(torch.from_numpy(masks).float(), side)
