"""What a training tells while it runs: a progress bar on stderr, and TensorBoard's logs."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

LOGS = "logs"


class Reporter:
    """Silent where `speaks` is false, as in all processes but the first."""

    def __init__(self, folder: Path, first: int, steps: int, speaks: bool) -> None:
        """first: step that the run begins at; what a stopped run logged beyond it is dropped from the graphs."""
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not speaks,
        )
        self._task = self._progress.add_task("", total=steps, completed=first)
        self._writer = SummaryWriter(str(folder / LOGS), purge_step=first + 1) if speaks else None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._writer is not None:
            self._writer.close()

    def advance(self, step: int) -> None:
        self._progress.update(self._task, completed=step)

    def log(self, group: str, step: int, figures: Mapping[str, float]) -> None:
        """Figures of `train` or `validation`, shown and written as `GROUP/NAME`."""
        if self._writer is None:
            return
        for name, value in figures.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
        told = " ".join(f"{name} {value:.3f}" for name, value in figures.items() if name != "rate")
        if group == "train":
            self._progress.update(self._task, completed=step, description=told)
        else:
            self._progress.console.print(f"step {step}: {group} {told}", highlight=False)
