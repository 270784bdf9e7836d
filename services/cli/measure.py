"""`glamm evaluate scenes`: what a checkpoint is worth, on held-out scenes and through a service of its own.

In the output folder everything is called by what it was made of: scenes by split, seed, count and generator,
predictions by these and by the weights. So a run goes on where an earlier one stopped, and never with what others made.

    scenes/NAME/                       what `glamm scenes` wrote
    predictions/NAME/WEIGHTS/KIND/     a file a job; WEIGHTS is the checkpoint's fingerprint
    predictions/NAME/WEIGHTS/figures.json
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console

from services.cli import batch, evaluation, figures, held_out, predict, report
from services.cli.checkpoints import OURS, faults
from services.cli.client import GlammClient
from services.cli.evaluation import Evaluation
from services.cli.held_out import GROUND_TRUTH, HeldOut
from services.cli.local import started
from services.cli.terminal import say
from shared.errors import InvalidInput
from shared.settings import get_settings

IN_FLIGHT = 32
"""Jobs under way at once: enough for every stage to fill its batches, and less than the scheduler admits."""


def measure(checkpoint: Path | None, asked: HeldOut, data: Path, out: Path, *, as_json: bool) -> int:
    """Write the scenes, predict every task, print the figures; returns the exit code.

    checkpoint: the settings' own where it is None. data: the folder of the stack that is started for it.
    The last line on stdout is one JSON object; as_json: the tables before it are left out.
    """
    since = monotonic()
    folder = (checkpoint or get_settings().checkpoint).absolute()
    with faults("--checkpoint", OURS):
        from shared.model.checkpoint import fingerprint

        weights = fingerprint(folder)
    err = Console(stderr=True)
    with _alone(out):
        scenes = held_out.scenes(asked, out / "scenes")
        predictions = out / "predictions" / scenes.name / weights
        plans = [
            predict.plan(kind, scenes / held_out.IMAGES, scenes / truth, predictions / kind)
            for kind, truth in GROUND_TRUTH.items()
        ]
        exit_code = _predict(plans, folder, data, err)
        done = [evaluation.OF_KIND[one.kind](one.out, scenes / GROUND_TRUTH[one.kind]) for one in plans]
        told = _told(done) | {
            "missing": sum(one.missing for one in done),
            "weights": weights,
            "split": asked.split.value,
            "seed": asked.seed,
            "count": asked.count,
            "seconds": round(monotonic() - since, 1),
        }
        batch.write_json(predictions / "figures.json", told)
    if not as_json:
        for one in done:
            figures.show(one, Console())
    print(json.dumps(told))
    return exit_code


def _predict(plans: Sequence[predict.Plan], checkpoint: Path, data: Path, err: Console) -> int:
    """Make the predictions that are not there, on a stack that lives no longer than that."""
    if not any(one.left() for one in plans):
        say(err, "All predictions are there already.")
        return report.OK
    with started(data, None, err, {"GLAMM_CHECKPOINT": str(checkpoint)}) as stack:
        with GlammClient(stack.gateway_url, api_key=stack.api_key) as client:
            predicted = predict.run(client, plans, IN_FLIGHT, err)
        for one in predicted:
            say(err, str(one))
        say(err, "Stopping the service.")
    return max(one.summary.exit_code for one in predicted)


def _told(done: Sequence[Evaluation]) -> dict[str, Any]:
    """All figures in one object, each behind its task: `gcg_miou`, `region_caption_accuracy`."""
    return {f"{one.kind.task}_{name}": value for one in done for name, value in one.figures.items()}


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Take the output folder, made where it is missing; the kernel gives it back when this process ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / "lock").open("w")
    except OSError as error:
        raise InvalidInput("--out", f"{out} cannot be used: {error.strerror}.", "Choose another folder.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(
                "--out", f"Another run uses {out}.", "Wait until it has ended, or choose another folder."
            ) from None
        yield
