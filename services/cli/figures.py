"""An evaluation for people, times 100 as papers print figures, and for programs."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.evaluation import Evaluation
from services.cli.terminal import plural

_NAMES = {
    "accuracy": "Accuracy",
    "meteor": "METEOR",
    "cider": "CIDEr",
    "ap50": "AP50",
    "miou": "mIoU",
    "recall": "Recall",
    "ap": "AP",
    "ciou": "cIoU",
    "giou": "gIoU",
    "precision_50": "P@0.5",
    "absent_refused": "absent refused",
    "present_refused": "present refused",
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
}


def show(done: Evaluation, out: Console) -> None:
    """A table of those figures that the set can tell, its notes, what was left out and what had no prediction."""
    table = Table(title=f"{done.kind}: {plural(done.count, done.noun)}", title_justify="left")
    told = {name: value for name, value in done.figures.items() if value is not None}
    for name in told:
        # What is not ours to name is a type of the ground truth's questions.
        table.add_column(Text(_NAMES.get(name, name.removeprefix("accuracy_"))), justify="right")
    table.add_row(*(f"{100 * value:.1f}" for value in told.values()))
    out.print(table)
    for name, value in done.notes.items():
        out.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
    if done.outside:
        out.print(f"{plural(done.outside, 'prediction')} of other images, left out", soft_wrap=True, highlight=False)
    if done.missing:
        told_missing = f"{plural(done.missing, done.noun)} without a prediction, counted as empty"
        out.print(told_missing, style="yellow", soft_wrap=True)


def as_json(done: Evaluation) -> dict[str, Any]:
    """`task`, `metrics` (fractions, null for what the set cannot tell), how many things there were, and the notes."""
    counted = {f"{done.noun}s": done.count, "missing": done.missing}
    if done.outside is not None:
        counted["outside"] = done.outside
    return {"task": done.kind.value, "metrics": dict(done.figures)} | counted | dict(done.notes)
