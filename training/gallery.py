"""`python -m training.gallery`: pictures of what a model makes of a set of scenes, its best and its worst, in a grid.

Nothing is picked by hand: the successes are the set's first captions in which every phrase is found in words and
pixels, the failures those in which the smallest share is.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from shared.errors import InvalidInput
from shared.masks import Rle
from shared.overlay import OverlayPhrase, render
from training.metrics.gcg import Prediction, Truth, read_predictions, read_truth
from training.metrics.masks import overlaps
from training.metrics.recall import IOU, SIMILARITY
from training.metrics.similarity import Lexical, Similarity

COLUMNS, ROWS = 4, 2
TILE = 384


@dataclass(frozen=True)
class Judged:
    """share: of the true phrases, those that one predicted phrase matches in words and pixels."""

    image: str
    share: float


def judge(image: str, truth: Truth, said: Prediction, similarity: Similarity) -> Judged:
    count = min(len(said.phrases), len(said.masks))
    ious = overlaps(said.masks[:count], truth.masks)
    alike = similarity.between(said.phrases[:count], truth.phrases)
    matches = (ious >= IOU) & (alike >= SIMILARITY)
    return Judged(image, float(matches.any(0).mean()) if count else 0.0)


def chosen(judged: Sequence[Judged], count: int) -> tuple[list[str], list[str]]:
    """Names of images: successes in the set's order, failures from the worst on."""
    successes = [one.image for one in judged if one.share == 1][:count]
    worst = sorted((one for one in judged if one.share < 1), key=lambda one: one.share)
    return successes, [one.image for one in worst[:count]]


def grid(tiles: Sequence[Image.Image]) -> Image.Image:
    """The tiles in rows of COLUMNS, each row as high as its highest."""
    rows = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    heights = [max(tile.height for tile in row) for row in rows]
    canvas = Image.new("RGB", (COLUMNS * TILE, sum(heights)), "white")
    for number, row in enumerate(rows):
        for column, tile in enumerate(row):
            canvas.paste(tile, (column * TILE, sum(heights[:number])))
    return canvas


def tile(picture: Path, said: Prediction) -> Image.Image:
    """The picture with its masks over a legend, TILE pixels wide."""
    masks: list[Rle | None] = [*said.masks, *[None] * len(said.phrases)]
    phrases = [OverlayPhrase(text, mask) for text, mask in zip(said.phrases, masks, strict=False)]
    with Image.open(picture) as image:
        shown = render(image, phrases, said.caption)
    return shown.resize((TILE, round(shown.height * TILE / shown.width)), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.gallery", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--scenes", type=Path, required=True, help="a folder that `glamm scenes` wrote")
    parser.add_argument("--predictions", type=Path, required=True, help="what `glamm predict --task gcg` made of it")
    parser.add_argument("--out", type=Path, required=True, help="the folder for successes.jpg and failures.jpg")
    options = parser.parse_args()
    try:
        truths = read_truth(options.scenes / "gcg")
        predictions, _ = read_predictions(options.predictions, truths)
    except InvalidInput as error:
        parser.error(f"{error.field}: {error.detail} {error.remedy}")
    similarity = Lexical()
    judged = [judge(image, truths[image], said, similarity) for image, said in predictions.items()]
    options.out.mkdir(parents=True, exist_ok=True)
    for name, images in zip(("successes", "failures"), chosen(judged, COLUMNS * ROWS), strict=True):
        if not images:
            print(f"no {name}")
            continue
        path = options.out / f"{name}.jpg"
        tiles = [tile(options.scenes / "images" / f"{image}.png", predictions[image]) for image in images]
        grid(tiles).save(path, quality=82)
        print(f"{path}: {len(tiles)} scenes")


if __name__ == "__main__":
    main()
