"""The trainer's own parts: examples, losses, the tokenizer and exact resume."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.model import conversation, parts
from shared.model.checkpoint import load_part
from shared.model.config import GlammConfig
from shared.model.tokenizer import GlammTokenizer
from shared.settings import SHIPPED_CHECKPOINT
from training import tokenizer as tokenizer_training
from training.corpus import sentences
from training.examples import CLASSES, TASK_SHARES, Example, SceneExamples, make_example, turn
from training.inherit import inherit
from training.losses import mask_bce, mask_dice
from training.scenes.compose import scene
from training.scenes.language import gcg
from training.towers import TowerTrainer
from training.train import Phase, learning_rate, run_phase, stream
from training.whole import GlammTrainer

CONFIG = GlammConfig.preset("glamm-scenes")


@pytest.fixture(scope="module")
def tokenizer() -> GlammTokenizer:
    return GlammTokenizer(tokenizer_training.train(sentences(), CONFIG.llm.vocab_size))


def test_the_tokenizer_reads_any_text_back(tokenizer: GlammTokenizer) -> None:
    assert tokenizer.size == CONFIG.llm.vocab_size
    for text in ("A dog on the left.", "Wörter und 犬 🐕!"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_answers_are_what_follows_the_prompt(tokenizer: GlammTokenizer) -> None:
    made = scene(5, "train")
    example = make_example(made, [turn(made, "gcg", np.random.default_rng(0))], CONFIG, tokenizer)
    ((begin, end),) = example.answers
    answer = example.ids[begin:end]
    assert (answer[-1], end) == (tokenizer.eos, len(example.ids))
    said = tokenizer.decode(answer).replace("<p>", " <p>").replace("</p>[SEG]", " </p> [SEG]").split()
    assert said == gcg(made).answer.split()
    assert answer.count(tokenizer.seg) == len(example.seg_masks) == len(made.objects) + 1


def test_a_conversation_is_read_as_the_service_would_put_it(tokenizer: GlammTokenizer) -> None:
    """Every answer of every task lies where the llm stage would generate it, turn behind turn."""
    made, rng = scene(7, "train"), np.random.default_rng(3)
    turns = [turn(made, task, rng) for task in TASK_SHARES for _ in range(4)]
    example = make_example(made, turns, CONFIG, tokenizer)
    said: list[tuple[str, str | None]] = []
    for one, (begin, end) in zip(turns, example.answers, strict=True):
        prompt = tokenizer.encode_prompt(conversation.build([*said, (one.question, None)]))
        assert example.ids[:begin] == prompt
        assert example.ids[end - 1] == tokenizer.eos
        assert example.ids[begin:end].count(tokenizer.seg) == len(one.masks)
        said.append((one.question, one.answer))
    assert example.ids.count(tokenizer.bbox) == len(example.boxes) > 0
    assert example.ids.count(tokenizer.seg) == len(example.seg_masks) == len(example.seg_classes)


def test_weights_are_inherited_and_tokens_known_to_both_keep_their_rows(tokenizer: GlammTokenizer) -> None:
    torch.manual_seed(0)
    before = GlammTokenizer.read(SHIPPED_CHECKPOINT)
    model = GlammTrainer(CONFIG, tokenizer, None)
    inherit(model, SHIPPED_CHECKPOINT, tokenizer)
    shipped = load_part(SHIPPED_CHECKPOINT, "llm", parts.llm, torch.device("cpu"), torch.float32)
    for token in ("<p>", "[SEG]", "</s>", "\u2581dog"):
        mine, theirs = tokenizer.tokenizer.token_to_id(token), before.tokenizer.token_to_id(token)
        assert torch.equal(model.lmm.llama.lm_head.weight[mine], shipped.llama.lm_head.weight[theirs])
    assert torch.equal(model.lmm.llama.model.norm.weight, shipped.llama.model.norm.weight)


def test_cells_show_the_scene(tokenizer: GlammTokenizer) -> None:
    made = scene(5, "train")
    example = make_example(made, [turn(made, "caption", np.random.default_rng(0))], CONFIG, tokenizer)
    shown = {CLASSES[index] for index in example.sam_cells.category.unique().tolist()}
    assert shown == {thing.category for thing in made.objects} | {made.background}
    assert example.region_masks.sum(0).allclose(torch.ones(64, 64))


def test_examples_follow_from_their_number(tokenizer: GlammTokenizer) -> None:
    one, other = SceneExamples(CONFIG, tokenizer, 2), SceneExamples(CONFIG, tokenizer, 2)
    assert one.example(7).ids == other.example(7).ids
    assert torch.equal(one.example(7).sam, other.example(7).sam)


def test_losses_on_worked_examples() -> None:
    sure = torch.tensor([[[20.0, -20.0]]])
    truth = torch.tensor([[[1.0, 0.0]]])
    assert mask_bce(sure, truth).item() == pytest.approx(0, abs=1e-6)
    assert mask_dice(sure, truth).item() == pytest.approx(0, abs=1e-3)
    # Certain of the wrong pixel: no overlap, so Dice is 1 up to its epsilon, (1e-6) / (2/1000 + 1e-6).
    assert mask_dice(-sure, truth).item() == pytest.approx(1 - 1e-6 / 2.001e-3, abs=1e-6)
    assert mask_bce(torch.zeros(1, 1, 2), truth).item() == pytest.approx(np.log(2))
    assert mask_dice(torch.zeros(0, 4, 4), torch.zeros(0, 4, 4)).item() == 0


def test_the_rate_rises_and_falls() -> None:
    phase = Phase("x", steps=1000, batch=1, rate=1.0)
    rates = [learning_rate(phase, step) for step in range(1000)]
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert rates[0] < 0.02
    assert rates[-1] == pytest.approx(0.05, abs=0.01)
    longer = [learning_rate(Phase("x", steps=2000, batch=1, rate=1.0), step) for step in range(700)]
    assert rates[:700] == longer


class StoppedHereError(Exception):
    pass


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Several threads add up gradients in an order of their own; one makes runs the same to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_training_goes_on_where_it_stopped(tokenizer: GlammTokenizer, tmp_path: Path) -> None:
    """Interrupted after its third step and run again, a phase ends with the same weights as one that ran through."""
    phase = Phase("towers", steps=4, batch=2, rate=1e-3)
    batches = stream(CONFIG, tokenizer, phase, 0, workers=0)

    def run(folder: Path, source: Callable[[int], Iterator[list[Example]]]) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = TowerTrainer(CONFIG)
        run_phase(phase, model, source, folder, save_every=2)
        return dict(model.state_dict())

    def broken(step: int) -> Iterator[list[Example]]:
        yield from itertools.islice(batches(step), 3)
        raise StoppedHereError

    once, twice = tmp_path / "once", tmp_path / "twice"
    once.mkdir()
    twice.mkdir()
    expected = run(once, batches)
    with pytest.raises(StoppedHereError):
        run(twice, broken)
    for name, tensor in run(twice, batches).items():
        assert torch.equal(tensor, expected[name]), name


def test_the_frozen_towers_stay_as_they_are(tokenizer: GlammTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GlammTrainer(CONFIG, tokenizer, torch.randn(len(CLASSES), CONFIG.sam.prompt_dim))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    phase = Phase("glamm", steps=2, batch=6, rate=1e-3)
    run_phase(phase, model, stream(CONFIG, tokenizer, phase, 0, workers=0), tmp_path)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not [name for name in moved if name.startswith(("vision.clip.", "vision.grounding."))]
    for part in ("lmm.llama.", "lmm.projector.", "lmm.text_projection.", "pixel.mask_decoder.", "vision.region."):
        assert any(name.startswith(part) for name in moved), part


def test_on_weights_that_know_scenes_everything_learns(tokenizer: GlammTokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GlammTrainer(CONFIG, tokenizer, None, towers=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    phase = Phase("glamm", steps=2, batch=6, rate=1e-3)
    run_phase(phase, model, stream(CONFIG, tokenizer, phase, 0, workers=0), tmp_path)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    for part in ("vision.clip.", "vision.grounding.", "vision.region.", "lmm.", "pixel.mask_decoder."):
        assert any(name.startswith(part) for name in moved), part
