"""`glamm train`: the trainer behind the command line. Needs the `model` and `training` extras."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from services.cli.packages import needed

if TYPE_CHECKING:
    from training.loop import Outcome


def train(path: Path, output: Path | None) -> None:
    """Train as the file says, on from where an earlier run of it stopped, and tell what came out."""
    with needed("model,training"):
        from training.config import TrainingConfig

        # Before the heavy imports, so that a wrong file is told at once.
        config = TrainingConfig.read(path)
        from training.loop import fit
    outcome = fit(config if output is None else config.model_copy(update={"output": output}))
    # Launchers number the processes so; one of them speaks.
    if os.environ.get("RANK", "0") == "0":
        _tell(outcome)


def _tell(outcome: "Outcome") -> None:
    if outcome.losses:
        print(f"loss {outcome.losses[0]:.3f} → {outcome.losses[-1]:.3f} in {len(outcome.losses)} steps")
    for name, value in outcome.validation.items():
        print(f"validation {name} {value:.3f}")
    print(f"the checkpoint is {outcome.checkpoint}")
