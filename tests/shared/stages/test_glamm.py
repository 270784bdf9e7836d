"""The three stages chained in one process."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared import masks
from shared.errors import InvalidInput
from shared.stages.device import resolve_device, resolve_dtype
from shared.stages.glamm import Glamm, Request
from shared.stages.pixel import PixelInput
from tests.tiny import TINY, write_checkpoint


@pytest.fixture(scope="module")
def glamm(tmp_path_factory: pytest.TempPathFactory) -> Glamm:
    loaded = Glamm.load(write_checkpoint(tmp_path_factory.mktemp("checkpoint")))
    loaded.llm.max_new_tokens = 8
    return loaded


def picture(seed: int, width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_masks_have_the_images_own_size(glamm: Glamm) -> None:
    found = glamm.annotate(picture(0, 90, 40))
    assert found.phrases
    assert found.raw_text.count("[SEG]") == len(found.phrases)
    for phrase in found.phrases:
        mask = masks.decode(phrase.rle)
        assert mask.shape == (40, 90)
        assert phrase.area == mask.sum()
        assert phrase.box == masks.box_of(mask)
        assert 0 <= phrase.score <= 1


def test_a_batch_answers_as_its_members_alone(glamm: Glamm) -> None:
    requests = [
        Request(picture(1, 64, 64)),
        Request(picture(2, 50, 80), "refseg", "the dog"),
        Request(picture(3, 80, 50), "region_caption", None, ((5.0, 5.0, 40.0, 30.0),)),
        Request(picture(4, 64, 64), "caption"),
    ]
    together = glamm.annotate_batch(requests)
    for request, found in zip(requests, together, strict=True):
        alone = glamm.annotate(request.image, request.task, request.prompt, request.boxes)
        assert found.raw_text == alone.raw_text
        for one, other in zip(found.phrases, alone.phrases, strict=True):
            assert masks.iou(masks.decode(one.rle), masks.decode(other.rle)) > 0.99


def test_a_referring_expression_names_its_mask(glamm: Glamm) -> None:
    found = glamm.annotate(picture(2, 64, 64), "refseg", "the dog")
    assert {phrase.text for phrase in found.phrases} == {"the dog"}


def test_pixels_and_boxes_change_what_is_seen(glamm: Glamm) -> None:
    vision = glamm.vision
    one, other = vision.run([vision.prepare(picture(0, 64, 64), [(0, 0, 20, 20)]), vision.prepare(picture(1, 64, 64))])
    assert one.global_tokens.shape == (TINY.clip.tokens, TINY.clip.width)
    assert one.sam_embedding.shape == (TINY.sam.prompt_dim, TINY.sam.grid, TINY.sam.grid)
    assert one.region_tokens is not None
    assert one.region_tokens.shape == (1, TINY.llm.hidden)
    assert other.region_tokens is None
    assert not torch.equal(one.global_tokens, other.global_tokens)
    assert not torch.equal(one.sam_embedding, other.sam_embedding)


def test_vectors_and_segs_must_agree(glamm: Glamm) -> None:
    embedding = torch.zeros(TINY.sam.prompt_dim, TINY.sam.grid, TINY.sam.grid)
    item = PixelInput(embedding, torch.zeros(1, TINY.sam.prompt_dim), 10, 10, "no mask here")
    with pytest.raises(ValueError, match="0 \\[SEG\\] in the answer but 1 prompt vectors"):
        glamm.pixel.run([item])


def test_an_answer_without_masks_is_plain_text(glamm: Glamm) -> None:
    embedding = torch.zeros(TINY.sam.prompt_dim, TINY.sam.grid, TINY.sam.grid)
    found = glamm.pixel.run([PixelInput(embedding, torch.zeros(0, TINY.sam.prompt_dim), 10, 10, "Just words.")])
    assert found[0].text == "Just words."
    assert found[0].phrases == ()


def test_half_precision_runs_through_all_stages(tmp_path: Path) -> None:
    half = Glamm.load(write_checkpoint(tmp_path), dtype=torch.bfloat16)
    half.llm.max_new_tokens = 8
    found = half.annotate(picture(0, 64, 64), "region_caption", None, ((5.0, 5.0, 40.0, 30.0),))
    assert found.raw_text


@pytest.mark.parametrize("name", ["cuda:63", "tpu", "warp"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        resolve_device(name)


def test_types_are_named_by_setting() -> None:
    assert resolve_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(InvalidInput, match="float8"):
        resolve_dtype("float8")
