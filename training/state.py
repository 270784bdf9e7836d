"""A training's state on disk: what has been learned so far, the optimiser's memory, and the steps done.

No generator's state is among it: all that is random in a step follows from the seed and the step's number.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared.errors import InvalidInput

FILE = "state.pt"


@dataclass(frozen=True)
class State:
    """run: of the config, what a resumption must not change; see `TrainingConfig.same_run`."""

    step: int
    trained: dict[str, Tensor]
    optimiser: dict[str, Any]
    run: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Replaces the state before it in one move, so that an interruption leaves one of the two whole."""
        partial = folder / f"{FILE}.partial"
        torch.save(vars(self), partial)
        partial.replace(folder / FILE)


def load_state(folder: Path, run: dict[str, Any]) -> State | None:
    """The folder's state, on the CPU, or None. Raises InvalidInput where it is another run's."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        state = State(**torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, TypeError, pickle.UnpicklingError) as error:
        remedy = "Take it away to begin anew, or give another output folder."
        raise InvalidInput("output", f"{path} is no training's state.", remedy) from error
    changed = sorted(section for section in run if run[section] != state.run.get(section))
    if changed:
        raise InvalidInput(
            "output",
            f"{folder} holds a run whose {' and '.join(changed)} differ from the config's.",
            "Give another output folder, or put the config back as it was.",
        )
    return state
