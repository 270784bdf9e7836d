"""`glamm evaluate`: the paper's metrics, from files or through a service that is started for it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from services.cli import evaluation
from services.cli.evaluation import Evaluation
from services.cli.held_out import HeldOut, Split
from services.cli.packages import needed

DATA = Path("data/evaluate")
OUT = Path("out/evaluate")

app = typer.Typer(name="evaluate", help="Compute the paper's metrics.", no_args_is_help=True)

Predictions = Annotated[Path, typer.Option(help="A folder with a JSON file an image, a JSON file, or a .jsonl file.")]
SplitName = Annotated[str | None, typer.Option(help="Which, where the ground truth's folder holds several.")]
GroundTruth = Annotated[Path, typer.Option(help="A JSON file in COCO's form or a list; see docs/evaluation.md.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, fractions as they are, as the last line.")]


@app.command()
def gcg(
    predictions: Predictions,
    ground_truth: Annotated[Path, typer.Option(help="GranD-f's folder with the two files of a split, or one of them.")],
    split: SplitName = None,
    bert: Annotated[
        Path | None, typer.Option(help="A folder with bert-base-uncased, to compare phrases as the paper does.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Grounded captions: METEOR, CIDEr, AP50, mIoU, mask recall."""
    _report(evaluation.gcg(predictions, ground_truth, split, bert), as_json)


@app.command()
def refseg(
    predictions: Predictions,
    ground_truth: Annotated[
        Path, typer.Option(help="A JSON file in COCO's form or a list, or RefCOCO's folder; see docs/evaluation.md.")
    ],
    split: SplitName = None,
    as_json: AsJson = False,
) -> None:
    """Referring segmentation: cIoU, gIoU, precision at an IoU of 0.5, and how often nothing is found."""
    _report(evaluation.refseg(predictions, ground_truth, split), as_json)


@app.command("region-caption")
def region_caption(predictions: Predictions, ground_truth: GroundTruth, as_json: AsJson = False) -> None:
    """Captions of regions: METEOR, CIDEr, BLEU, ROUGE-L, and how often the category is named."""
    _report(evaluation.region_caption(predictions, ground_truth), as_json)


@app.command()
def caption(predictions: Predictions, ground_truth: GroundTruth, as_json: AsJson = False) -> None:
    """Captions of images: METEOR, CIDEr, BLEU, ROUGE-L."""
    _report(evaluation.caption(predictions, ground_truth), as_json)


@app.command()
def vqa(predictions: Predictions, ground_truth: GroundTruth, as_json: AsJson = False) -> None:
    """Questions about images: how many are answered exactly, of all and of each type."""
    _report(evaluation.vqa(predictions, ground_truth), as_json)


@app.command()
def scenes(
    split: Annotated[Split, typer.Option(help="Which scenes that no training saw.")] = Split.TEST,
    seed: Annotated[int, typer.Option(min=0, help="As `glamm scenes` takes it.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 100,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The model. Default: $GLAMM_CHECKPOINT, else the shipped one.")
    ] = None,
    data: Annotated[Path, typer.Option(help="The folder that keeps the stack's data and logs.")] = DATA,
    out: Annotated[Path, typer.Option(help="Scenes and predictions go here. What is there is not made again.")] = OUT,
    as_json: Annotated[bool, typer.Option("--json", help="Print no tables, only the JSON object in the end.")] = False,
) -> None:
    """Every task on held-out scenes: write them, predict them through a stack of its own, print all figures."""
    with needed("embedded,evaluation,model,training"):
        from services.cli.measure import measure

    raise typer.Exit(measure(checkpoint, HeldOut(split, seed, count), data, out, as_json=as_json))


def _report(done: Evaluation, as_json: bool) -> None:
    from rich.console import Console

    from services.cli import figures

    if as_json:
        print(json.dumps(figures.as_json(done), ensure_ascii=False))
    else:
        figures.show(done, Console())
