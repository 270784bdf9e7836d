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
from shared.stages.pixel import GroundedAnswer, PixelInput, RawAnswer
from shared.stages.vision import RegionInput, normalised
from shared.tasks import Ask, Task
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
    (answer,), (raw,) = found.answers, found.raw_texts
    assert answer.phrases
    assert raw.count("[SEG]") == len(answer.phrases)
    for phrase in answer.phrases:
        mask = masks.decode(phrase.rle)
        assert mask.shape == (40, 90)
        assert phrase.area == mask.sum()
        assert phrase.box == masks.box_of(mask)
        assert 0 <= phrase.score <= 1


def test_a_batch_answers_as_its_members_alone(glamm: Glamm) -> None:
    requests = [
        Request(picture(1, 64, 64)),
        Request(picture(2, 50, 80), Ask(Task.REFSEG, expressions=("the dog", "a very large tree"))),
        Request(picture(3, 80, 50), Ask(Task.REGION_CAPTION, boxes=((5.0, 5.0, 40.0, 30.0), (0.0, 0.0, 80.0, 50.0)))),
        Request(picture(4, 64, 64), Ask(Task.CAPTION)),
        Request(picture(5, 64, 64), Ask(Task.VQA, "Is <box2> on <box1>?", ((1, 1, 9, 9), (2, 2, 60, 60)))),
        Request(picture(6, 64, 64), Ask(Task.GROUND, "A dog, and a tree.")),
    ]
    together = glamm.annotate_batch(requests)
    for request, found in zip(requests, together, strict=True):
        alone = glamm.annotate(request.image, request.ask)
        assert found.raw_texts == alone.raw_texts
        for answer, same in zip(found.answers, alone.answers, strict=True):
            for one, other in zip(answer.phrases, same.phrases, strict=True):
                assert masks.iou(masks.decode(one.rle), masks.decode(other.rle)) > 0.99


def test_each_expression_and_each_region_has_an_answer_as_if_asked_alone(glamm: Glamm) -> None:
    image = picture(2, 64, 64)
    boxes = ((5.0, 5.0, 40.0, 30.0), (0.0, 0.0, 64.0, 64.0))
    for together, alone in (
        (
            Ask(Task.REFSEG, expressions=("the dog", "a tree")),
            [Ask(Task.REFSEG, expressions=("the dog",)), Ask(Task.REFSEG, expressions=("a tree",))],
        ),
        (Ask(Task.REGION_CAPTION, boxes=boxes), [Ask(Task.REGION_CAPTION, boxes=(box,)) for box in boxes]),
    ):
        found = glamm.annotate(image, together)
        assert found.raw_texts == tuple(glamm.annotate(image, ask).raw_texts[0] for ask in alone)


def test_a_turn_sees_the_turns_before_it(glamm: Glamm) -> None:
    image = picture(2, 64, 64)
    first = Ask(Task.REGION_CAPTION, boxes=((5.0, 5.0, 40.0, 30.0), (0.0, 0.0, 20.0, 20.0)))
    second = Ask(Task.VQA, "And this?", ((30.0, 30.0, 60.0, 60.0),))
    said = glamm.annotate(image, first)
    prompts = glamm._prompts(
        Request(image, second, ((first, said),)),
        glamm.vision.run([glamm.vision.prepare(image, [*first.boxes, *second.boxes])])[0],
    ).prompts
    assert len(prompts) == 1
    text = glamm.llm.tokenizer.tokenizer.decode(
        [token for token in prompts[0].ids if token >= 0], skip_special_tokens=False
    )
    assert text.count("<bbox>") == 3
    assert prompts[0].region_tokens is not None
    assert len(prompts[0].region_tokens) == 3
    assert all(raw in text for raw in said.raw_texts)
    (later,), (alone,) = glamm.annotate(image, second, [(first, said)]).answers, glamm.annotate(image, second).answers
    assert [phrase.score for phrase in later.phrases] != [phrase.score for phrase in alone.phrases]


def test_a_given_caption_comes_back_whole_with_its_phrases_grounded(glamm: Glamm) -> None:
    caption = "A  dog\nbarks at 3.5 trees, loudly!"
    chosen = glamm.annotate(picture(0, 64, 64), Ask(Task.GROUND, caption))
    assert chosen.answers[0].text == "A dog barks at 3.5 trees, loudly!"
    given = glamm.annotate(picture(0, 64, 64), Ask(Task.GROUND, caption, phrases=("a dog", "trees"))).answers[0]
    assert [(phrase.text, phrase.span) for phrase in given.phrases] == [("A dog", (0, 5)), ("trees", (19, 24))]
    assert given.text == "A dog barks at 3.5 trees, loudly!"


def test_a_referring_expression_names_its_mask(glamm: Glamm) -> None:
    found = glamm.annotate(picture(2, 64, 64), Ask(Task.REFSEG, expressions=("the dog", "a tree")))
    assert [{phrase.text for phrase in answer.phrases} for answer in found.answers] == [{"the dog"}, {"a tree"}]


def test_pixels_and_boxes_change_what_is_seen(glamm: Glamm) -> None:
    vision = glamm.vision
    one, other = vision.run([vision.prepare(picture(0, 64, 64), [(0, 0, 20, 20)]), vision.prepare(picture(1, 64, 64))])
    assert one.global_tokens is not None
    assert one.sam_embedding is not None
    assert other.global_tokens is not None
    assert other.sam_embedding is not None
    assert one.global_tokens.shape == (TINY.clip.tokens, TINY.clip.width)
    assert one.sam_embedding.shape == (TINY.sam.prompt_dim, TINY.sam.grid, TINY.sam.grid)
    assert one.region_tokens is not None
    assert one.region_tokens.shape == (1, TINY.llm.hidden)
    assert other.region_tokens is None
    assert not torch.equal(one.global_tokens, other.global_tokens)
    assert not torch.equal(one.sam_embedding, other.sam_embedding)


def test_boxes_that_come_later_are_read_as_if_they_had_come_at_once(glamm: Glamm) -> None:
    vision, image, boxes = glamm.vision, picture(0, 64, 64), [(0.0, 0.0, 20.0, 20.0), (3.0, 3.0, 60.0, 50.0)]
    kept, at_once = vision.run([vision.prepare(image, keep_levels=True), vision.prepare(image, boxes)])
    assert kept.region_tokens is None
    assert at_once.levels is None
    assert kept.levels is not None
    later = RegionInput(kept.levels, normalised(boxes, 64, 64))
    found, _ = vision.run([later, vision.prepare(picture(1, 64, 64))])
    assert (found.global_tokens, found.sam_embedding, found.levels) == (None, None, None)
    assert found.region_tokens is not None
    torch.testing.assert_close(found.region_tokens, at_once.region_tokens)


def test_vectors_and_segs_must_agree(glamm: Glamm) -> None:
    embedding = torch.zeros(TINY.sam.prompt_dim, TINY.sam.grid, TINY.sam.grid)
    item = PixelInput(embedding, 10, 10, (RawAnswer("no mask here", torch.zeros(1, TINY.sam.prompt_dim)),))
    with pytest.raises(ValueError, match="0 \\[SEG\\] in the answer but 1 prompt vectors"):
        glamm.pixel.run([item])


def test_jobs_of_many_masks_take_turns(glamm: Glamm) -> None:
    """A step draws so many masks and no more, whoever's they are, and the result is that of each job alone."""
    generator = torch.Generator().manual_seed(0)

    def item(masks: int) -> PixelInput:
        embedding = torch.randn(TINY.sam.prompt_dim, TINY.sam.grid, TINY.sam.grid, generator=generator)
        vectors = torch.randn(masks, TINY.sam.prompt_dim, generator=generator)
        return PixelInput(embedding, 40, 30, (RawAnswer("a" + " [SEG]" * masks, vectors),))

    items = [item(masks) for masks in (5, 1, 0, 3)]
    stepper = glamm.pixel.stepper(2)
    for key, one in enumerate(items):
        stepper.admit(key, one)
    order: list[int] = []
    found = {}
    while len(stepper):
        for key, output in stepper.step():
            order.append(key)
            found[key] = output
    assert order == [2, 0, 1, 3]
    for key, one in enumerate(items):
        (alone,) = glamm.pixel.run([one])
        mine = [masks.decode(phrase.rle) for phrase in found[key].answers[0].phrases]
        theirs = [masks.decode(phrase.rle) for phrase in alone.answers[0].phrases]
        assert all(masks.iou(a, b) > 0.99 for a, b in zip(mine, theirs, strict=True))


def test_urgent_masks_are_drawn_first(glamm: Glamm) -> None:
    def item(masks: int) -> PixelInput:
        embedding = torch.zeros(TINY.sam.prompt_dim, TINY.sam.grid, TINY.sam.grid)
        said = RawAnswer("a" + " [SEG]" * masks, torch.zeros(masks, TINY.sam.prompt_dim))
        return PixelInput(embedding, 40, 30, (said,))

    stepper = glamm.pixel.stepper(2)
    stepper.admit(1, item(5))
    assert stepper.step() == []
    stepper.admit(2, item(2), urgent=True)
    assert [[key for key, _ in stepper.step()] for _ in range(3)] == [[2], [], [1]]


def test_an_answer_without_masks_is_plain_text(glamm: Glamm) -> None:
    embedding = torch.zeros(TINY.sam.prompt_dim, TINY.sam.grid, TINY.sam.grid)
    said = RawAnswer("Just words.", torch.zeros(0, TINY.sam.prompt_dim))
    (found,) = glamm.pixel.run([PixelInput(embedding, 10, 10, (said,))])
    assert found.answers == (GroundedAnswer("Just words.", ()),)


def test_half_precision_runs_through_all_stages(tmp_path: Path) -> None:
    half = Glamm.load(write_checkpoint(tmp_path), dtype=torch.bfloat16)
    half.llm.max_new_tokens = 8
    found = half.annotate(picture(0, 64, 64), Ask(Task.REGION_CAPTION, boxes=((5.0, 5.0, 40.0, 30.0),)))
    assert found.raw_texts[0]


@pytest.mark.parametrize("name", ["cuda:63", "tpu", "warp"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        resolve_device(name)


def test_types_are_named_by_setting() -> None:
    assert resolve_dtype("bfloat16") is torch.bfloat16
    with pytest.raises(InvalidInput, match="float8"):
        resolve_dtype("float8")
