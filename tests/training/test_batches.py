"""From samples to tensors: what is padded, cut, and refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared.masks import Mask
from shared.model import parts
from shared.model.tokenizer import IMAGE_PLACEHOLDER, GlammTokenizer
from tests.tiny import TINY, byte_tokenizer
from training.batches import Batch, Batcher
from training.data.sample import DataError, Sample, Turn
from training.network import GlammNetwork, LossWeights

TOKENIZER = GlammTokenizer(byte_tokenizer())
BATCHER = Batcher(TINY, TOKENIZER, max_length=2000)


class Block:
    """The left `columns` of a picture."""

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def decode(self, height: int, width: int) -> Mask:
        mask = np.zeros((height, width), dtype=np.bool_)
        mask[:, : self.columns] = True
        return mask


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (80, 40), "teal").save(path)
    return path


def said(picture: Path, *turns: Turn) -> Sample:
    return Sample(picture, turns, Path("source.json"), 4)


def grounded(picture: Path) -> Sample:
    answer = "<p> A man </p> [SEG] and <p> a dog </p> [SEG]."
    return said(picture, Turn("What is here?", answer, (Block(10), Block(40))))


def about_a_box(picture: Path) -> Sample:
    return said(picture, Turn("And <bbox>?", "It is teal.", boxes=((0, 0, 40, 20),)), Turn("Sure?", "Yes."))


def test_only_answers_are_learned(picture: Path) -> None:
    batch = BATCHER([about_a_box(picture)])
    learned = [TOKENIZER.decode(batch.ids[0][begin:end]) for begin, end in batch.answers[0]]
    assert learned == ["It is teal.", "Yes."]
    assert [batch.ids[0][end - 1] for _, end in batch.answers[0]] == [TOKENIZER.eos] * 2
    assert batch.ids[0].count(IMAGE_PLACEHOLDER) == 1
    assert batch.boxes[0].tolist() == [[0, 0, 0.5, 0.5]]


def test_masks_keep_their_pictures_size(picture: Path) -> None:
    (masks,) = BATCHER([grounded(picture)]).masks
    assert masks.shape == (2, 40, 80)
    assert masks.sum((1, 2)).tolist() == [400, 1600]


def network() -> GlammNetwork:
    torch.manual_seed(0)
    modules = parts.vision(TINY), parts.llm(TINY), parts.pixel(TINY)
    return GlammNetwork(TINY, TOKENIZER, *modules, LossWeights()).eval()


@torch.no_grad()
def test_padding_changes_nothing(picture: Path) -> None:
    """A short conversation beside a long one has the losses that each has alone, weighted by their tokens and masks."""
    model = network()
    alone = [model(BATCHER([sample])) for sample in (grounded(picture), about_a_box(picture))]
    both = BATCHER([grounded(picture), about_a_box(picture)])
    together = model(both)
    counts = torch.tensor([sum(end - begin for begin, end in spans) for spans in both.answers])
    expected = sum(losses["text"] * count for losses, count in zip(alone, counts, strict=True)) / counts.sum()
    assert together["text"].item() == pytest.approx(float(expected), abs=1e-5)
    assert together["bce"].item() == pytest.approx(alone[0]["bce"].item(), abs=1e-5)
    assert alone[1]["bce"].item() == 0
    assert alone[1]["loss"].item() == pytest.approx(alone[1]["text"].item())


@torch.no_grad()
def test_masks_count_alike_whatever_their_picture(picture: Path, tmp_path: Path) -> None:
    """Two masks of one picture and one of a larger: the mean is over three masks, not over two pictures."""
    large = tmp_path / "large.png"
    Image.new("RGB", (90, 120), "navy").save(large)
    single = said(large, Turn("What?", "It is [SEG].", (Block(30),)))
    model = network()
    two, one, together = (
        model(BATCHER(samples)) for samples in ([grounded(picture)], [single], [grounded(picture), single])
    )
    for name in ("bce", "dice"):
        expected = (2 * two[name] + one[name]) / 3
        assert together[name].item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_long_conversation_is_cut_with_its_masks(picture: Path) -> None:
    whole = BATCHER([grounded(picture)])
    second = [at for at, token in enumerate(whole.ids[0]) if token == TOKENIZER.seg][1]
    # Room for all before the second [SEG].
    short = Batcher(TINY, TOKENIZER, max_length=second - 1 + TINY.clip.tokens)([grounded(picture)])
    assert short.ids[0] == whole.ids[0][:second]
    assert len(short.masks[0]) == 1
    assert short.answers[0][0][1] == second


def test_a_turn_beyond_the_length_is_left_out(picture: Path) -> None:
    whole = BATCHER([about_a_box(picture)])
    length = whole.answers[0][1][0] - 1 + TINY.clip.tokens
    cut = Batcher(TINY, TOKENIZER, length)([about_a_box(picture)])
    assert cut.answers[0] == whole.answers[0][:1]


@pytest.mark.parametrize(
    ("turn", "says"),
    [
        (Turn("What?", "It is [SEG]."), r"0 masks for 1 \[SEG\]"),
        (Turn("What is <bbox>?", "A man."), "0 boxes for 1 <bbox>"),
        (Turn("What is <image>?", "A man."), "marker <image>"),
    ],
)
def test_a_conversation_that_does_not_fit_its_record_is_named(picture: Path, turn: Turn, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        BATCHER([said(picture, turn)])
    assert "source.json, record 4" in caught.value.detail


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.png is no readable picture") as caught:
        BATCHER([grounded(tmp_path / "nowhere.png")])
    assert caught.value.field == "image"


def test_a_question_that_fills_everything_is_named(picture: Path) -> None:
    with pytest.raises(DataError, match="fills all the 60 positions"):
        Batcher(TINY, TOKENIZER, max_length=60)([grounded(picture)])


def test_a_batch_moves_whole(picture: Path) -> None:
    moved = BATCHER([grounded(picture), about_a_box(picture)]).to(torch.device("meta"))
    assert isinstance(moved, Batch)
    assert {tensor.device.type for tensor in (moved.clip, moved.sam, *moved.boxes, *moved.masks)} == {"meta"}
