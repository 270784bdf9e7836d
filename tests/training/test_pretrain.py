"""What a small model learns before GLaMM's own training: labels, prompts, exact resume, and the checkpoint."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.model import parts
from shared.model.checkpoint import load_part
from shared.model.config import GlammConfig
from shared.model.tokenizer import GlammTokenizer
from shared.stages.glamm import Glamm
from training.pretrain import assemble, phase, vocabulary
from training.pretrain.cells import CLASSES, IGNORE, cells
from training.pretrain.clip import ClipLearner
from training.pretrain.inherit import inherit
from training.pretrain.lmm import LmmLearner, meant
from training.pretrain.phase import Learner, Phase, learning_rate
from training.pretrain.sam import SamLearner, prompts
from training.scenes.compose import scene, scene_generator

PRESET = GlammConfig.preset("glamm-scenes")


@pytest.fixture(scope="module")
def config() -> GlammConfig:
    """The default model's tokenizer, all else tiny."""
    raw = json.loads((Path(__file__).parents[2] / "training" / "configs" / "smoke-model.json").read_text())
    raw["llm"]["vocab_size"] = PRESET.llm.vocab_size
    return GlammConfig.from_dict(raw)


@pytest.fixture(scope="module")
def tokenizer() -> GlammTokenizer:
    return GlammTokenizer(vocabulary.train_tokenizer(PRESET.llm.vocab_size))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads add up gradients in an order of their own; one makes runs the same to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_tokenizer_reads_any_text_back(tokenizer: GlammTokenizer) -> None:
    assert tokenizer.size == PRESET.llm.vocab_size
    for text in ("A dog on the left.", "Wörter und 犬 🐕!"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_cells_show_the_scene() -> None:
    made = scene(5, "train")
    labels = cells(made, 64)
    shown = {CLASSES[index] for index in labels.category.unique().tolist()}
    assert shown == {thing.category for thing in made.objects} | {made.background}
    for rank, thing in enumerate(made.objects):
        mine = labels.rank == rank
        assert {CLASSES[index] for index in labels.category[mine].tolist()} == {thing.category}
        x1, y1, x2, y2 = (side / 256 for side in thing.box)
        assert labels.box[mine][0].tolist() == pytest.approx([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
    assert (labels.rank[labels.size == IGNORE] == IGNORE).all()


def test_a_prompt_asks_for_all_that_it_fits() -> None:
    seen = set()
    for number in range(60):
        made = scene(number, "train", None, 96, 96)
        for prompt in prompts(made, scene_generator(number, "train", 1)):
            if prompt.category > len(CLASSES) - len({each.background for each in [made]}) and prompt.box is None:
                continue
            seen.add((prompt.category > 0, prompt.colour > 0, prompt.box is not None))
            if np.array_equal(prompt.mask, made.background_mask):
                continue
            members = [thing for thing in made.objects if not (thing.mask & ~prompt.mask).any()]
            assert members
            if prompt.box is not None:
                assert len(members) == 1
            elif prompt.category:
                name = CLASSES[prompt.category - 1]
                assert {thing.category for thing in members} == {name}
    assert (False, False, True) in seen
    assert (True, False, False) in seen
    assert (False, True, False) in seen


def test_what_a_mask_means_is_read_from_its_members() -> None:
    made = scene(8, "train")
    thing = made.objects[0]
    assert meant(made, thing.mask).box is not None
    assert CLASSES[meant(made, made.background_mask).category - 1] == made.background
    both = made.objects[0].mask | made.objects[1].mask
    assert meant(made, both).box is None


def test_the_rate_rises_and_falls() -> None:
    one = Phase("x", steps=1000, batch=1, rate=1.0)
    rates = [learning_rate(one, step) for step in range(1000)]
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert rates[0] < 0.02
    assert rates[-1] == pytest.approx(0.05, abs=0.01)
    assert rates[:700] == [learning_rate(Phase("x", steps=2000, batch=1, rate=1.0), step) for step in range(700)]


class StoppedHereError(Exception):
    pass


class Breaks(ClipLearner):
    """Is interrupted before its fourth step."""

    def examples(self, first: int, batch: int) -> Iterator[Any]:
        yield from itertools.islice(super().examples(first, batch), 3)
        raise StoppedHereError


def test_a_phase_goes_on_where_it_stopped(config: GlammConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after its third step and run again, it ends with the same weights as one that ran through."""
    monkeypatch.setattr(phase, "SAVE_EVERY", 2)
    one = Phase("clip", steps=4, batch=2, rate=1e-3)

    def run(folder: Path, form: type[ClipLearner]) -> dict[str, torch.Tensor]:
        folder.mkdir(exist_ok=True)
        torch.manual_seed(0)
        learner = form(config.clip)
        phase.run(one, learner, folder, 0)
        return dict(learner.state_dict())

    expected = run(tmp_path / "once", ClipLearner)
    with pytest.raises(StoppedHereError):
        run(tmp_path / "twice", Breaks)
    for name, tensor in run(tmp_path / "twice", ClipLearner).items():
        assert torch.equal(tensor, expected[name]), name


def test_the_three_steps_make_a_checkpoint_that_the_next_can_begin_with(
    config: GlammConfig, tokenizer: GlammTokenizer, tmp_path: Path
) -> None:
    tokenizer.tokenizer.save(str(tmp_path / "tokenizer.json"))
    for name, learner in (("clip", ClipLearner(config.clip)), ("sam", SamLearner(config.sam))):
        run_shortly(name, learner, tmp_path)
    clip, vectors = assemble.encoder(config, tmp_path), assemble.prompt_vectors(config, tmp_path)
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    run_shortly("lmm", LmmLearner(config, tokenizer, clip, vectors), tmp_path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in clip.state_dict().items())
    assemble.write(config, tmp_path, tmp_path / "made")
    glamm = Glamm.load(tmp_path / "made")
    assert glamm.llm.tokenizer.size == tokenizer.size
    stored = load_part(tmp_path / "made", "vision", parts.vision, torch.device("cpu"), torch.float32)
    assert torch.allclose(stored.clip.state_dict()["tower.conv1.weight"], before["tower.conv1.weight"], atol=1e-3)
    again = SamLearner(config.sam)
    inherit(again, tmp_path / "made")
    assert torch.equal(
        again.encoder.state_dict()["encoder.pos_embed"], stored.grounding.state_dict()["encoder.pos_embed"]
    )
    inherit(ClipLearner(config.clip), tmp_path / "made")


def run_shortly(name: str, learner: Learner, folder: Path) -> None:
    phase.run(Phase(name, steps=2, batch=3, rate=1e-3), learner, folder, 0)
