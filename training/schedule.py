"""How the learning rate goes up and down."""

import math

from training.config import ScheduleConfig


def rate_share(schedule: ScheduleConfig, step: int) -> float:
    """The share of the full rate at a step, counted from 0: rising by equal parts, then decaying to nothing."""
    if step < schedule.warmup:
        return (step + 1) / (schedule.warmup + 1)
    done = min(1.0, (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup))
    match schedule.decay:
        case "linear":
            return 1 - done
        case "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        case "constant":
            return 1.0
