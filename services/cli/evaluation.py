"""The figures of a set of predictions: what `glamm evaluate` computes, before it is shown.

The metrics are in `training/metrics`, which the torch-less image leaves out with its packages, so every function
imports them when it is called. Each reads predictions and ground truth as docs/evaluation.md has them, and raises
InvalidInput for a mistake in a file.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from services.cli.asking import Kind
from services.cli.packages import needed

Item = TypeVar("Item")
Figures = Mapping[str, float | None]
"""Fractions by name; None where the set has nothing to tell it by."""


@dataclass(frozen=True)
class Evaluation:
    """noun and count: what the set consists of; missing: how many of them had no prediction, counted as empty.

    outside: how many predictions were left out, since they are of other images; None where such are an error.
    """

    kind: Kind
    figures: Figures
    noun: str
    count: int
    missing: int
    notes: Mapping[str, str] = field(default_factory=dict)
    outside: int | None = None


def gcg(predictions: Path, truth: Path, split: str | None = None, bert: Path | None = None) -> Evaluation:
    """bert: a folder with bert-base-uncased, to compare phrases by meaning; without one their words are compared."""
    with needed("evaluation"):
        from training.metrics.gcg import gcg_scores, read_predictions, read_truth
        from training.metrics.similarity import Bert, Lexical

        truths = read_truth(truth, split)
        found, outside = read_predictions(predictions, truths)
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
    missing = len(truths) - len(found)
    return Evaluation(Kind.GCG, figures, "image", len(truths), missing, {"similarity": similarity.name}, outside)


def refseg(predictions: Path, truth: Path, split: str | None = None) -> Evaluation:
    """split: of RefCOCO, where the ground truth is its folder."""
    with needed("evaluation"):
        from training.metrics.expressions import read_pairs
        from training.metrics.referring import referring_scores

        pairs, missing = read_pairs(predictions, truth, split)
        scores = referring_scores(_track(pairs, "masks"))
    return Evaluation(Kind.REFSEG, asdict(scores), "expression", len(pairs), missing)


def region_caption(predictions: Path, truth: Path) -> Evaluation:
    return _captions(Kind.REGION_CAPTION, "region", predictions, truth)


def caption(predictions: Path, truth: Path) -> Evaluation:
    return _captions(Kind.CAPTION, "image", predictions, truth)


def vqa(predictions: Path, truth: Path) -> Evaluation:
    with needed("evaluation"):
        from training.metrics.answering import answering_scores
        from training.metrics.questions import read_pairs

        pairs, missing = read_pairs(predictions, truth)
        scores = answering_scores(pairs)
    by_kind = {f"accuracy_{kind}": share for kind, share in scores.by_kind.items()}
    return Evaluation(Kind.VQA, {"accuracy": scores.accuracy} | by_kind, "question", len(pairs), missing)


OF_KIND: Mapping[Kind, Callable[[Path, Path], Evaluation]] = {
    Kind.GCG: gcg,
    Kind.REFSEG: refseg,
    Kind.REGION_CAPTION: region_caption,
    Kind.VQA: vqa,
    Kind.CAPTION: caption,
}


def _captions(kind: Kind, noun: str, predictions: Path, truth: Path) -> Evaluation:
    with needed("evaluation"):
        from training.metrics.caption_scores import caption_scores
        from training.metrics.categories import category_accuracy
        from training.metrics.text import read_captions

        read = read_captions(predictions, truth)
        scores = caption_scores(read.captions, _track)
    bleu = {f"bleu_{n}": value for n, value in enumerate(scores.bleu, start=1)}
    figures: Figures = {"meteor": scores.meteor, "cider": scores.cider} | bleu | {"rouge_l": scores.rouge_l}
    if kind is Kind.REGION_CAPTION:
        figures = {"accuracy": category_accuracy(read.categorized), **figures}
    return Evaluation(kind, figures, noun, len(read.captions), read.missing)


def _track(items: Sequence[Item], label: str) -> Iterable[Item]:
    """A bar on stderr while somebody watches."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, label, console=console, transient=True, disable=not console.is_terminal)
