"""`glamm evaluate`: the paper's metrics from files of predictions and of ground truth, without a service.

The metrics are in `training/metrics`, which the torch-less image leaves out with its packages, so every command imports
them when it runs.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from services.cli.packages import needed
from services.cli.terminal import plural

if TYPE_CHECKING:
    from training.metrics.caption_scores import CaptionScores

app = typer.Typer(name="evaluate", help="Compute the paper's metrics from files.", no_args_is_help=True)

Item = TypeVar("Item")
Figures = Mapping[str, float]
Predictions = Annotated[Path, typer.Option(help="A folder with a JSON file an image, a JSON file, or a .jsonl file.")]
GroundTruth = Annotated[Path, typer.Option(help="A JSON file in COCO's form or a list; see docs/evaluation.md.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, fractions as they are, as the last line.")]


@app.command()
def gcg(
    predictions: Predictions,
    ground_truth: Annotated[Path, typer.Option(help="GranD-f's folder with the two files of a split, or one of them.")],
    split: Annotated[str | None, typer.Option(help="val or test, where the folder holds both.")] = None,
    bert: Annotated[
        Path | None, typer.Option(help="A folder with bert-base-uncased, to compare phrases as the paper does.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Grounded captions: METEOR, CIDEr, AP50, mIoU, mask recall."""
    with needed("evaluation"):
        from training.metrics.gcg import gcg_scores, read_predictions, read_truth
        from training.metrics.similarity import Bert, Lexical

        truths = read_truth(ground_truth, split)
        found = read_predictions(predictions, truths)
        similarity = Bert(bert) if bert else Lexical()
        scores = gcg_scores(truths, found, similarity, _track)
    figures = {
        "meteor": scores.captions.meteor,
        "cider": scores.captions.cider,
        "ap50": scores.precision.ap50,
        "miou": scores.miou,
        "recall": scores.recall,
        "ap": scores.precision.ap,
    }
    _report("gcg", figures, "image", len(truths), len(truths) - len(found), as_json, {"similarity": similarity.name})


@app.command()
def refseg(predictions: Predictions, ground_truth: GroundTruth, as_json: AsJson = False) -> None:
    """Referring segmentation: cIoU, gIoU, precision at an IoU of 0.5."""
    with needed("evaluation"):
        from training.metrics.expressions import read_pairs
        from training.metrics.referring import referring_scores

        pairs, missing = read_pairs(predictions, ground_truth)
        scores = referring_scores(_track(pairs, "masks"))
    _report("refseg", asdict(scores), "expression", len(pairs), missing, as_json)


@app.command("region-caption")
def region_caption(predictions: Predictions, ground_truth: GroundTruth, as_json: AsJson = False) -> None:
    """Captions of regions: METEOR, CIDEr, BLEU, ROUGE-L."""
    _captions("region-caption", "region", predictions, ground_truth, as_json)


@app.command()
def caption(predictions: Predictions, ground_truth: GroundTruth, as_json: AsJson = False) -> None:
    """Captions of images: METEOR, CIDEr, BLEU, ROUGE-L."""
    _captions("caption", "image", predictions, ground_truth, as_json)


def _captions(task: str, noun: str, predictions: Path, ground_truth: Path, as_json: bool) -> None:
    with needed("evaluation"):
        from training.metrics.caption_scores import caption_scores
        from training.metrics.text import read_captions

        captions, missing = read_captions(predictions, ground_truth)
        scores = caption_scores(captions, _track)
    _report(task, _caption_figures(scores), noun, len(captions), missing, as_json)


def _caption_figures(scores: "CaptionScores") -> Figures:
    bleu = {f"bleu_{n}": value for n, value in enumerate(scores.bleu, start=1)}
    return {"meteor": scores.meteor, "cider": scores.cider} | bleu | {"rouge_l": scores.rouge_l}


def _track(items: Sequence[Item], label: str) -> Iterable[Item]:
    """A bar on stderr while somebody watches."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, label, console=console, transient=True, disable=not console.is_terminal)


def _report(
    task: str,
    figures: Figures,
    noun: str,
    count: int,
    missing: int,
    as_json: bool,
    more: Mapping[str, str] | None = None,
) -> None:
    """The figures times 100 in a table, as papers print them; or as they are in JSON."""
    from rich.console import Console
    from rich.table import Table

    if as_json:
        told = {"task": task, "metrics": figures, f"{noun}s": count, "missing": missing} | dict(more or {})
        print(json.dumps(told, ensure_ascii=False))
        return
    table = Table(title=f"{task}: {plural(count, noun)}", title_justify="left")
    for name in figures:
        table.add_column(_NAMES[name], justify="right")
    table.add_row(*(f"{100 * value:.1f}" for value in figures.values()))
    out = Console()
    out.print(table)
    for name, value in (more or {}).items():
        out.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
    if missing:
        out.print(f"{plural(missing, noun)} without a prediction, counted as empty", style="yellow", soft_wrap=True)


_NAMES = {
    "meteor": "METEOR",
    "cider": "CIDEr",
    "ap50": "AP50",
    "miou": "mIoU",
    "recall": "Recall",
    "ap": "AP",
    "ciou": "cIoU",
    "giou": "gIoU",
    "precision_50": "P@0.5",
    "bleu_1": "BLEU-1",
    "bleu_2": "BLEU-2",
    "bleu_3": "BLEU-3",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
}
