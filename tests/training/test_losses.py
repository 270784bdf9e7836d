"""The trainer's losses are the reference's."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from shared.model.lmm import expanded_positions
from shared.model.tokenizer import IMAGE_PLACEHOLDER
from training.losses import BCE_WEIGHT, DICE_WEIGHT, TEXT_WEIGHT, mask_bce, mask_dice, next_token

GOLDEN = Path(__file__).parents[1] / "golden"
IGNORED = -100


def test_the_losses_are_those_that_the_reference_recorded() -> None:
    recorded = load_file(GOLDEN / "record.safetensors")
    sizes = json.loads((GOLDEN / "config.json").read_text())["clip"]
    ids, labels = recorded["forced.input_ids"][0].tolist(), recorded["loss.labels"][0]
    assert ids.count(IMAGE_PLACEHOLDER) == 1
    positions = torch.tensor(expanded_positions(ids, (sizes["image_size"] // sizes["patch_size"]) ** 2))
    said = labels != IGNORED
    text = next_token(recorded["forced.logits"][0, positions[said] - 1], labels[said])
    masks, truth = recorded["forced.mask_logits"], recorded["loss.gt_masks"]
    losses = {
        "ce_loss": TEXT_WEIGHT * text,
        "mask_bce_loss": BCE_WEIGHT * mask_bce(masks, truth),
        "mask_dice_loss": DICE_WEIGHT * mask_dice(masks, truth),
    }
    losses["mask_loss"] = losses["mask_bce_loss"] + losses["mask_dice_loss"]
    losses["loss"] = losses["ce_loss"] + losses["mask_loss"]
    assert {name.removeprefix("loss.") for name in recorded if name.startswith("loss.")} == {
        *losses,
        "labels",
        "gt_masks",
    }
    for name, value in losses.items():
        assert value.item() == pytest.approx(recorded[f"loss.{name}"].item(), abs=1e-5), name
