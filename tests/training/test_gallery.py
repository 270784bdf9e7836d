"""The pictures of the model card: chosen by a rule, drawn in a grid."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.masks import encode
from training import gallery
from training.metrics.gcg import Prediction, Truth
from training.metrics.similarity import Lexical
from training.scene_sets import SceneSet, write

LEFT, RIGHT = (np.zeros((8, 8), bool) for _ in range(2))
LEFT[:, :4], RIGHT[:, 4:] = True, True
TRUTH = Truth(("A dog and a cat.",), ("A dog", "a cat"), (encode(LEFT), encode(RIGHT)), (8, 8))


@pytest.mark.parametrize(
    ("phrases", "masks", "share"),
    [
        (("a dog", "a cat"), (LEFT, RIGHT), 1.0),
        (("a dog", "a cat"), (RIGHT, LEFT), 0.0),
        (("a dog", "a bus"), (LEFT, RIGHT), 0.5),
        ((), (), 0.0),
    ],
)
def test_a_phrase_is_found_in_words_and_pixels_together(phrases: tuple[str, ...], masks: Any, share: float) -> None:
    said = Prediction("", phrases, tuple(encode(mask) for mask in masks))
    assert gallery.judge("x", TRUTH, said, Lexical()).share == share


def test_successes_stand_in_order_and_failures_from_the_worst_on() -> None:
    judged = [gallery.Judged(name, share) for name, share in (("a", 0.5), ("b", 1.0), ("c", 0.0), ("d", 1.0))]
    assert gallery.chosen(judged, 2) == (["b", "d"], ["c", "a"])
    assert gallery.chosen(judged, 1) == (["b"], ["c"])


def test_a_set_and_its_predictions_become_two_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The truth itself of every scene but one is predicted."""
    list(write(SceneSet("test", 0, 6), tmp_path / "set", side=96))
    records = json.loads((tmp_path / "set" / "annotations.json").read_text())
    (tmp_path / "said").mkdir()
    for index, record in enumerate(records):
        name = Path(record["file_name"]).stem
        found = {} if index == 2 else record["groundings"]
        said = {"caption": record["caption"], "phrases": list(found)}
        masks = [one["rle_masks"][0] for one in found.values()]
        (tmp_path / "said" / f"{name}.json").write_text(json.dumps({"image_id": name, "pred_masks": masks} | said))
    options = ["--scenes", tmp_path / "set", "--predictions", tmp_path / "said", "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["gallery", *map(str, options)])
    gallery.main()
    assert "successes.jpg: 5 scenes" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "successes.jpg") as five, Image.open(tmp_path / "out" / "failures.jpg") as one:
        assert five.width == one.width == gallery.COLUMNS * gallery.TILE
        assert five.height > 1.5 * one.height
