"""bfloat16 and torch.compile change how the stages compute, not what they find."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared import masks
from shared.errors import InvalidInput
from shared.stages.device import resolve_compile
from shared.stages.glamm import Annotation, Glamm
from shared.stages.vision import VisionStage
from tests.tiny import write_checkpoint

BOXES = ((5.0, 5.0, 40.0, 30.0), (10.0, 0.0, 60.0, 50.0))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (50, 70, 3), dtype=np.uint8))


def assert_same(found: Annotation, expected: Annotation) -> None:
    assert found.raw_texts == expected.raw_texts
    (mine,), (theirs,) = found.answers, expected.answers
    assert len(mine.phrases) == len(theirs.phrases) > 0
    for one, other in zip(mine.phrases, theirs.phrases, strict=True):
        assert masks.iou(masks.decode(one.rle), masks.decode(other.rle)) > 0.99
        assert one.score == pytest.approx(other.score, abs=1e-3)


@pytest.mark.slow
def test_a_compiled_model_answers_as_a_plain_one(checkpoint: Path) -> None:
    plain, compiled = Glamm.load(checkpoint), Glamm.load(checkpoint, compiled=True)
    plain.llm.max_new_tokens = compiled.llm.max_new_tokens = 12
    assert {*compiled.vision.encoders.state_dict()} == {*plain.vision.encoders.state_dict()}
    for module in (compiled.vision.encoders.clip, compiled.vision.encoders.grounding, compiled.pixel.decoder):
        assert module._compiled_call_impl is not None
    for seed in range(2):
        expected = plain.annotate(picture(seed))
        assert_same(compiled.annotate(picture(seed)), expected)


def test_half_precision_sees_nearly_the_same(checkpoint: Path) -> None:
    """Each step of bfloat16 rounds to 1/256; what a whole encoder makes of that stays within a few such steps."""
    cpu = torch.device("cpu")
    full, half = (VisionStage.load(checkpoint, cpu, dtype) for dtype in (torch.float32, torch.bfloat16))
    (expected,) = full.run([full.prepare(picture(0), BOXES)])
    (found,) = half.run([half.prepare(picture(0), BOXES)])
    for name in ("global_tokens", "region_tokens", "sam_embedding"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype is torch.bfloat16
        assert torch.nn.functional.cosine_similarity(one.float().flatten(), other.flatten(), dim=0) > 0.999, name


def test_half_precision_answers_and_draws(checkpoint: Path) -> None:
    half = Glamm.load(checkpoint, dtype=torch.bfloat16)
    half.llm.max_new_tokens = 12
    (found,) = half.annotate(picture(0)).answers
    assert found.phrases
    for phrase in found.phrases:
        assert masks.decode(phrase.rle).shape == (50, 70)
        assert 0 <= phrase.score <= 1


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert resolve_compile(False) is False
    with pytest.raises(InvalidInput, match="compiler") as refused:
        resolve_compile(True)
    assert refused.value.field == "compile"
    compiler = tmp_path / "c++"
    compiler.touch()
    compiler.chmod(0o755)
    assert resolve_compile(True) is True
