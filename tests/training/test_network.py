"""The network that is trained: its losses against the reference's, and what padding and cutting do to them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models

from shared.model import convert, parts
from shared.model.tokenizer import GlammTokenizer
from training.batches import Batch
from training.network import GlammNetwork, LossWeights

GOLDEN = Path(__file__).parent.parent / "golden"


def golden_tokenizer() -> GlammTokenizer:
    """The recorded special ids by their tokens; the record holds ids, so no text is tokenised."""
    config = json.loads((GOLDEN / "config.json").read_text())
    names = {"seg": "[SEG]", "im_start": "<im_start>", "im_end": "<im_end>"}
    special = {index: names.get(name, f"<{name}>") for name, index in config["tokens"].items()} | {1: "<s>", 2: "</s>"}
    vocabulary = {special.get(index, f"token{index}"): index for index in range(config["llm"]["vocab_size"])}
    return GlammTokenizer(Tokenizer(models.WordLevel(vocabulary, unk_token="token0")))


def golden_network() -> GlammNetwork:
    config, wanted, entries = convert.inspect(GOLDEN)
    vision, lmm, pixel = parts.vision(config), parts.llm(config), parts.pixel(config)
    for part, module in (("vision", vision), ("llm", lmm), ("pixel", pixel)):
        mine = [weight for weight in wanted if weight.part == part]
        module.load_state_dict({weight.name: tensor for weight, tensor in convert.joined(mine, entries)})
    return GlammNetwork(config, golden_tokenizer(), vision, lmm, pixel, LossWeights()).eval()


def golden_batch(record: dict[str, torch.Tensor], bbox: int, copies: int = 1) -> Batch:
    ids = record["forced.input_ids"][0].tolist()
    labelled = (record["loss.labels"][0] != -100).nonzero()[:, 0].tolist()
    assert labelled == list(range(labelled[0], labelled[-1] + 1))
    return Batch(
        clip=record["clip_pixel_values"].repeat(copies, 1, 1, 1),
        sam=record["sam_pixel_values"].repeat(copies, 1, 1, 1),
        ids=(ids,) * copies,
        answers=(((labelled[0], labelled[-1] + 1),),) * copies,
        # The reference reads as many boxes as the text has places for.
        boxes=(record["boxes_normalized"][: ids.count(bbox)],) * copies,
        masks=(record["loss.gt_masks"].bool(),) * copies,
    )


@torch.no_grad()
def test_losses_are_the_references() -> None:
    """On the recorded conversation, from pixels to losses, with the reference's weights."""
    record = load_file(GOLDEN / "record.safetensors")
    network = golden_network()
    losses = network(golden_batch(record, network.tokenizer.bbox))
    assert losses["loss"].item() == pytest.approx(record["loss.loss"].item(), abs=1e-4)
    assert losses["text"].item() == pytest.approx(record["loss.ce_loss"].item(), abs=1e-4)
    assert 2.0 * losses["bce"].item() == pytest.approx(record["loss.mask_bce_loss"].item(), abs=1e-4)
    assert 0.5 * losses["dice"].item() == pytest.approx(record["loss.mask_dice_loss"].item(), abs=1e-4)
    masks = losses["bce"] * 2.0 + losses["dice"] * 0.5
    assert masks.item() == pytest.approx(record["loss.mask_loss"].item(), abs=1e-4)
