"""What a small model learns before GLaMM's own training: labels, prompts, exact resume, and the checkpoint."""

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from deploy.embedded import ports
from shared.model import parts
from shared.model.checkpoint import load_part
from shared.model.clip import GlobalImageEncoder
from shared.model.config import GlammConfig
from shared.model.tokenizer import GlammTokenizer
from shared.stages.glamm import Glamm
from shared.tasks import Task
from training.conversations import read_out
from training.forward import read, see
from training.language.conversations import Turn
from training.masks import shrink
from training.pretrain import assemble, phase, vocabulary
from training.pretrain.__main__ import main
from training.pretrain.branches import Branch
from training.pretrain.cells import CLASSES, IGNORE, cells
from training.pretrain.clip import ClipLearner
from training.pretrain.inherit import inherit
from training.pretrain.lmm import LmmLearner, meant
from training.pretrain.looking import looks
from training.pretrain.optimisers import MUON_SHARE, WIDE_SHARE, optimisers, orthogonal
from training.pretrain.phase import Learner, Phase, learning_rate
from training.pretrain.sam import PromptVectors, SamLearner, centred, prompts
from training.scenes.colours import COLOURS
from training.scenes.compose import Purpose, scene, scene_generator

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


pytestmark = pytest.mark.usefixtures("_one_thread")


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


def test_a_prompt_asks_for_all_that_it_fits_and_for_nothing_else() -> None:
    seen = set[object]()
    for number in range(60):
        made = scene(number, "train", None, 96, 96)
        for prompt in prompts(made, scene_generator(number, "train", Purpose.PROMPTS)):
            category = CLASSES[prompt.category - 1] if prompt.category else ""
            colour = COLOURS[prompt.colour - 1] if prompt.colour else ""
            if category == made.background:
                seen.add("background")
                assert np.array_equal(prompt.mask, made.background_mask)
                continue
            seen.add((bool(category), bool(colour), prompt.box is not None))
            fitting = [
                thing.mask
                for thing in made.objects
                if category in ("", thing.category)
                and colour in ("", thing.colour)
                and prompt.box in (None, centred(thing.box, thing.mask.shape))
            ]
            assert np.array_equal(prompt.mask, np.logical_or.reduce(fitting))
    named = {(True, False, False), (True, True, False), (False, True, False)}
    boxed = {(False, False, True), (True, False, True), (True, True, True)}
    assert seen == {"background"} | named | boxed


def test_what_a_mask_means_is_read_from_its_members() -> None:
    made = scene(8, "train")
    one, other = made.objects[:2]
    alone = meant(made, one.mask)
    assert (CLASSES[alone.category - 1], alone.box) == (one.category, centred(one.box, one.mask.shape))
    assert CLASSES[meant(made, made.background_mask).category - 1] == made.background
    both = meant(made, one.mask | other.mask)
    assert both.box is None
    assert (both.category > 0) == (one.category == other.category)
    assert (both.colour > 0) == (one.colour == other.colour != "")


def test_an_orthogonal_step_has_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((24, 60), (60, 24)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_matrices_inside_learn_by_muon_and_all_else_by_adamw(config: GlammConfig) -> None:
    learner = SamLearner(config.sam)
    (adamw, _), (muon, share) = optimisers(learner.named_parameters())
    assert share == MUON_SHARE
    by = {
        id(p): kind for kind, one in (("adamw", adamw), ("muon", muon)) for g in one.param_groups for p in g["params"]
    }
    names = {name: by[id(parameter)] for name, parameter in learner.named_parameters()}
    assert names["encoder.encoder.blocks.0.attn.qkv.weight"] == "muon"
    assert names["encoder.encoder.blocks.0.attn.qkv.bias"] == "adamw"
    assert names["encoder.encoder.blocks.0.attn.rel_pos_h"] == "adamw"
    assert names["prompts.category.weight"] == names["encoder.encoder.pos_embed"] == "adamw"


def test_a_map_of_very_many_inputs_learns_more_slowly() -> None:
    made = optimisers([("a", torch.nn.Parameter(torch.ones(2, 5000))), ("b", torch.nn.Parameter(torch.ones(2, 50)))])
    shares = {optimiser.param_groups[0]["params"][0].shape[1]: share for optimiser, share in made}
    assert shares == {5000: WIDE_SHARE, 50: 1.0}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("lmm",), "clip.pt"),
        (("write", "--out", "made"), "sam.pt"),
        (("clip", "--from", "nowhere"), "nowhere"),
        (("sam", "--config", "glamm-9b"), "glamm-9b"),
        (("sam", "--device", "cuda:99"), "cuda:99"),
        (("lmm", "--workers", "-1"), "--workers"),
    ],
)
def test_what_is_missing_is_one_line(
    arguments: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pretrain", *arguments, "--work", str(tmp_path / "work")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert named in capsys.readouterr().err.splitlines()[-1]


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

    def examples(self, first: int, batch: int, apart: int) -> Iterator[Any]:
        yield from itertools.islice(super().examples(first, batch, apart), 3)
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


def test_workers_compose_the_same_batches(config: GlammConfig) -> None:
    stream = phase._Stream(ClipLearner(config.clip), first=7, batch=2)
    beside = DataLoader(stream, batch_size=None, num_workers=2, generator=torch.Generator())
    for (pixels, _), (others, _) in itertools.islice(zip(stream, beside, strict=False), 5):
        assert torch.equal(pixels, others)


def test_all_tensors_of_a_batch_move(config: GlammConfig, tokenizer: GlammTokenizer) -> None:
    learner = LmmLearner(config, tokenizer, GlobalImageEncoder(config.clip), PromptVectors(config.sam.prompt_dim))
    for made in (SamLearner(config.sam), ClipLearner(config.clip), learner):
        batch = next(made.examples(3, 2, 2))
        before, after = tensors(batch), tensors(phase.moved(batch, torch.device("meta")))
        assert len(before) == len(after) > 2
        assert all(tensor.device.type == "meta" for tensor in after)


def tensors(batch: Any) -> list[torch.Tensor]:
    """All that are anywhere in it."""
    found = []
    for each in vars(batch).values() if is_dataclass(batch) else batch:
        if isinstance(each, torch.Tensor):
            found.append(each)
        elif is_dataclass(each) or isinstance(each, list | tuple):
            found.extend(tensors(each))
    return found


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert phase.own_device(torch.device("cuda")) == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert phase.own_device(torch.device("cuda")) == torch.device("cuda:3")
    assert phase.own_device(torch.device("cuda:1")) == torch.device("cuda:1")
    assert phase.own_device(torch.device("cpu")) == torch.device("cpu")


def one_of_two(rank: int, port: int, config: GlammConfig, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(0)
    phase.run(Phase("clip", steps=1, batch=2, rate=1e-3), ClipLearner(config.clip), folder, 0)
    dist.destroy_process_group()


def test_two_processes_make_a_step_of_both_their_batches(config: GlammConfig, tmp_path: Path) -> None:
    port = ports.claim(tmp_path / "port")[0]
    torch.multiprocessing.spawn(one_of_two, (port, config, tmp_path), nprocs=2)
    torch.manual_seed(0)
    learner = ClipLearner(config.clip)
    batches = learner.examples(0, 2, 2)
    for _ in range(2):
        (learner(next(batches))[0] / 2).backward()
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    for optimiser, share in optimisers(learner.named_parameters()):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(Phase("clip", 1, 2, 1e-3), 0) * share
        optimiser.step()
    for name, tensor in phase.saved(tmp_path, "clip").items():
        assert torch.allclose(tensor, learner.state_dict()[name], atol=2e-6), name


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
    lmm = LmmLearner(config, tokenizer, clip, vectors)
    inherit(lmm, tmp_path / "made")
    assert torch.equal(lmm.lmm.llama.lm_head.weight, glamm.llm.lmm.llama.lm_head.weight)
    assert torch.equal(lmm.region.state_dict()["roi_align.updims.weight"], stored.region.roi_align.updims.weight)


def test_branches_read_what_whole_conversations_do(config: GlammConfig, tokenizer: GlammTokenizer) -> None:
    """The picture read once for all of its conversations makes no difference to any of them."""
    torch.manual_seed(0)
    learner = LmmLearner(config, tokenizer, GlobalImageEncoder(config.clip), PromptVectors(config.sam.prompt_dim))
    batch = next(learner.examples(3, 2, 2))
    with torch.no_grad():
        branched, _ = learner._read(learner._given[0], batch)
        for index in (0, 7, len(batch.branches) - 1):
            branch, begin = batch.branches[index], learner._begin
            seen = see(
                learner._given[0], learner.region, config, batch.pixels[branch.owner : branch.owner + 1], [branch.boxes]
            )
            answers = [[(start + len(begin), end + len(begin)) for start, end in branch.answers]]
            alone = read(learner.lmm, [[*begin, *branch.ids]], answers, seen, tokenizer.bbox, tokenizer.seg)
            mine = slice(branched.starts[index], branched.starts[index] + len(branch.ids))
            assert torch.allclose(branched.states[mine], alone.states[-len(branch.ids) :], atol=1e-5)
            assert torch.allclose(branched.images[branch.owner], alone.states[alone.image_positions], atol=1e-5)
            wanted = [row for row in branched.predictors.tolist() if mine.start <= row < mine.stop]
            assert [row - mine.start for row in wanted] == [
                row - len(alone.states) + len(branch.ids) for row in alone.predictors.tolist()
            ]


def test_looks_fall_on_what_is_spoken_of(config: GlammConfig, tokenizer: GlammTokenizer) -> None:
    made = scene(31, "train")
    grid = config.clip.grid
    masks = tuple(thing.mask for thing in made.objects[:2])
    turns = (
        Turn(Task.GCG, "What is there?", "<p> A dog </p> [SEG] and <p> a cat </p> [SEG].", masks),
        Turn(Task.VQA, "What colour is it?", "Red.", about=1),
        Turn(Task.VQA, "How many dogs are there?", "Two.", seen=(0, 1)),
    )
    ids, answers = read_out([(turn.question, turn.answer) for turn in turns], tokenizer)
    found = looks([made], [turns], [Branch(0, ids, answers, torch.zeros(0, 4))], tokenizer, grid)
    read_then = [ids[at] for at in found.at.tolist()]
    assert [token for token in read_then if token == tokenizer.phrase] == [tokenizer.phrase] * 2
    about = [masks[0], masks[0], masks[1], masks[1], masks[1], masks[0] | masks[1]]
    for moment, mask in zip(found.cells, about, strict=True):
        covered = shrink(mask[None], grid).flatten()
        assert moment.any()
        assert (covered[moment] > 0).all()
    assert found.at.tolist()[-2:] == [answers[1][0] - 1, answers[2][0] - 1]


def test_attention_is_taught_to_look_and_regions_their_words(config: GlammConfig, tokenizer: GlammTokenizer) -> None:
    """Steps on one batch raise the share of attention on what is spoken of, and let region tokens point at it."""
    torch.manual_seed(0)
    learner = LmmLearner(config, tokenizer, GlobalImageEncoder(config.clip), PromptVectors(config.sam.prompt_dim))
    batch = next(learner.examples(3, 1, 1))
    optimiser = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], 3e-3)
    shares, regions = [], []
    for _ in range(12):
        loss, figures = learner(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        shares.append(figures["looking"])
        regions.append(figures["regions"])
    assert shares[-1] > shares[0] + 0.05
    assert regions[-1] > regions[0] + 0.5


def run_shortly(name: str, learner: Learner, folder: Path) -> None:
    phase.run(Phase(name, steps=2, batch=3, rate=1e-3), learner, folder, 0)
