"""`glamm evaluate scenes` from the first prediction to the last line: interrupted, gone on with, and run once more."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from services.cli.held_out import HeldOut, Split
from shared import masks
from shared.model.checkpoint import fingerprint
from shared.model.random_weights import write_random
from tests.tiny import TINY, byte_tokenizer, write_checkpoint

PATIENCE = 300.0

pytestmark = pytest.mark.long
WIDTH, HEIGHT = 64, 48
BOXES = {"a red square": (4, 6, 20, 20), "a blue square": (30, 10, 24, 30)}
"""x, y, width and height of what each picture shows."""

ASKED = HeldOut(Split.COMPOSITIONAL, seed=7, count=12)
JOBS = ASKED.count * (1 + 1 + 1 + 1 + 3)
"""Of gcg, caption, refseg and region captions one an image, and one a question."""


def rle(box: tuple[int, int, int, int]) -> dict[str, Any]:
    x, y, width, height = box
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    return {"size": [HEIGHT, WIDTH], "counts": masks.encode(mask).counts}


def write_scenes(folder: Path) -> None:
    """What `glamm scenes` writes, with one sentence for every picture."""
    caption = "A red square and a blue square."
    gcg_masks, gcg_captions, refseg, regions, captions, vqa = ([] for _ in range(6))
    (folder / "images").mkdir(parents=True)
    for n in range(ASKED.count):
        name = f"scene-{n}"
        noise = np.random.default_rng(n).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{name}.png")
        image = {"image_id": name, "file_name": f"{name}.png"}
        gcg_masks += [{"image_id": name, "category_id": 1, "segmentation": rle(box)} for box in BOXES.values()]
        gcg_captions.append({"image_id": name, "caption": caption, "labels": list(BOXES)})
        refseg += [
            image | {"expression": f"the{phrase[1:]}", "segmentation": rle(box), "kind": "unique"}
            for phrase, box in BOXES.items()
        ]
        refseg.append(image | {"expression": "the dog", "segmentation": None, "kind": "absent"})
        regions += [
            image | {"region_id": k, "bbox": box, "caption": f"{phrase}.", "category": "square"}
            for k, (phrase, box) in enumerate(BOXES.items())
        ]
        captions.append(image | {"caption": caption})
        questions = [
            ("How many squares?", None, "Two.", "how_many"),
            ("What is it?", BOXES["a red square"], "A square.", "what"),
            ("Is there a dog?", None, "No.", "yes_no"),
        ]
        vqa += [
            image | {"question_id": f"{name}-{k}", "question": question, "bbox": box, "answer": answer, "type": kind}
            for k, (question, box, answer, kind) in enumerate(questions)
        ]
    images = [{"id": f"scene-{n}"} for n in range(ASKED.count)]
    (folder / "gcg").mkdir()
    for path, document in {
        "annotations.json": [],
        "gcg/compositional_gcg_coco_mask_gt.json": {"images": images, "annotations": gcg_masks},
        "gcg/compositional_gcg_coco_caption_gt.json": {"images": images, "annotations": gcg_captions},
        "refseg.json": refseg,
        "region_caption.json": regions,
        "vqa.json": vqa,
        "caption.json": captions,
    }.items():
        (folder / path).write_text(json.dumps(document))


@pytest.fixture
def out(tmp_path) -> Path:
    folder = tmp_path / "out"
    write_scenes(folder / "scenes" / ASKED.name)
    return folder


@pytest.fixture
def options(tmp_path, out) -> Callable[..., list[str]]:
    """Options of the command."""
    given = {"--split": ASKED.split, "--seed": ASKED.seed, "--count": ASKED.count, "--out": out}

    def make(checkpoint: Path, data: Path) -> list[str]:
        pairs = given | {"--checkpoint": checkpoint, "--data": data}
        return ["evaluate", "scenes", *(str(word) for pair in pairs.items() for word in pair)]

    return make


def test_held_out_scenes_are_measured_however_often_it_takes(options, command, out, tmp_path):
    checkpoint, data = write_checkpoint(tmp_path / "checkpoint"), tmp_path / "data"
    predictions = out / "predictions" / ASKED.name / fingerprint(checkpoint)
    log = tmp_path / "log"

    def start() -> subprocess.Popen[bytes]:
        environment = os.environ | {"GLAMM_MAX_NEW_TOKENS": "6"}
        arguments = [sys.executable, "-m", "services.cli", *options(checkpoint, data)]
        with log.open("wb") as err, (tmp_path / "said").open("wb") as said:
            return subprocess.Popen(arguments, env=environment, stdout=said, stderr=err)

    interrupted = start()
    eventually(lambda: any(predictions.glob("*/*.json")), interrupted, log)
    family = psutil.Process(interrupted.pid).children(recursive=True)
    assert len(family) >= 9, "four servers and five processes"
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(PATIENCE) == 130, log.read_text()
    assert [member for member in family if member.is_running()] == []
    assert "Traceback" not in log.read_text()
    there = {path: path.stat().st_mtime_ns for path in predictions.glob("*/*.json")}
    assert 0 < len(there) < JOBS

    second = start()
    assert second.wait(PATIENCE) == 0, log.read_text()
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert len(list(predictions.glob("*/*.json"))) == JOBS
    *tables, last = (tmp_path / "said").read_text().splitlines()
    told = json.loads(last)
    assert json.loads((predictions / "figures.json").read_text()) == told
    shown = "\n".join(tables)
    for title in ("gcg: 12 images", "refseg: 36 expressions", "region-caption: 24 regions", "vqa: 36 questions"):
        assert title in shown
    assert {name: told[name] for name in ("split", "seed", "count", "weights", "missing")} == {
        "split": "compositional",
        "seed": 7,
        "count": 12,
        "weights": fingerprint(checkpoint),
        "missing": 0,
    }
    for task, file in (("refseg", "refseg"), ("region-caption", "region_caption"), ("vqa", "vqa"), ("gcg", None)):
        truth = out / "scenes" / ASKED.name / (f"{file}.json" if file else "gcg")
        apart = command("evaluate", task, "--predictions", predictions / task, "--ground-truth", truth, "--json")
        metrics = {
            f"{task.replace('-', '_')}_{name}": value for name, value in json.loads(apart.out)["metrics"].items()
        }
        assert metrics.items() <= told.items()
        assert all(0 <= value <= 1 for name, value in metrics.items() if not name.endswith("cider"))
    assert {"vqa_accuracy", "vqa_accuracy_what", "vqa_accuracy_how_many", "vqa_accuracy_yes_no"} <= told.keys()
    assert {"refseg_absent_refused", "refseg_present_refused", "region_caption_accuracy"} <= told.keys()
    assert {"gcg_miou", "gcg_ap50", "gcg_recall", "gcg_meteor", "gcg_cider"} <= told.keys()
    assert {"caption_meteor", "caption_cider"} <= told.keys()

    # Nothing is left to predict, so no service is needed, not even a folder for one. With other weights it is.
    nowhere = tmp_path / "said"
    third = command(*options(checkpoint, nowhere), "--json")
    assert third.code == 0, third.err
    (line,) = third.out.splitlines()
    assert json.loads(line) | {"seconds": 0} == told | {"seconds": 0}
    write_random(tmp_path / "other", TINY, byte_tokenizer().to_str(), seed=2)
    other = command(*options(tmp_path / "other", nowhere))
    assert other.code == 1
    assert f"The data folder {nowhere} cannot be used" in other.err


def test_an_output_folder_is_for_one_run_at_a_time(options, command, out, tmp_path):
    arguments = options(write_checkpoint(tmp_path / "checkpoint"), tmp_path / "data")
    with (out / "lock").open("w") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        refused = command(*arguments)
    assert refused.code == 2
    (line,) = refused.err.splitlines()
    assert f"--out: Another run uses {out}." in line


def test_what_is_no_checkpoint_is_told_before_anything_is_made(options, command, out, tmp_path):
    refused = command(*options(tmp_path / "nothing", tmp_path / "data"))
    assert refused.code == 2
    (line,) = refused.err.splitlines()
    assert line.startswith("glamm: --checkpoint: ")
    assert "nothing is no checkpoint" in line
    assert not (out / "lock").exists()
    assert not (tmp_path / "data").exists()


def eventually(reached: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = monotonic() + PATIENCE
    while not reached():
        assert process.poll() is None, log.read_text()
        assert monotonic() < deadline, log.read_text()
        sleep(0.02)
