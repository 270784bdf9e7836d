"""Held-out scenes as the command makes them: once, and with ground truths that `predict` and `evaluate` can read."""

from services.cli import evaluation
from services.cli.asking import Kind
from services.cli.held_out import GROUND_TRUTH, IMAGES, HeldOut, Split, scenes
from services.cli.predict import plan


def test_scenes_are_written_once_and_asked_and_judged_as_they_are(tmp_path):
    asked = HeldOut(Split.COMPOSITIONAL, seed=3, count=3)
    folder = scenes(asked, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [asked.name]
    assert len(list((folder / IMAGES).iterdir())) == 3
    before = (folder / "vqa.json").stat().st_mtime_ns
    assert scenes(asked, tmp_path) == folder
    assert (folder / "vqa.json").stat().st_mtime_ns == before

    for kind, truth in GROUND_TRUTH.items():
        planned = plan(kind, folder / IMAGES, folder / truth, tmp_path / "out")
        assert len(planned.jobs) >= 3
        assert planned.impossible == ()
    for kind in (Kind.VQA, Kind.REGION_CAPTION):
        truth = folder / GROUND_TRUTH[kind]
        assert evaluation.OF_KIND[kind](truth, truth).figures["accuracy"] == 1.0
