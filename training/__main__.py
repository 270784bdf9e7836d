"""`python -m training`: trains the default checkpoint, or measures one on scenes that it never saw."""

import argparse
import dataclasses
import json
from pathlib import Path

import torch

from shared.model.checkpoint import CONFIG_FILE, save_part
from shared.model.config import GlammConfig
from shared.model.tokenizer import FILE as TOKENIZER_FILE
from shared.model.tokenizer import GlammTokenizer
from shared.stages.glamm import Glamm
from training import tokenizer as tokenizer_training
from training.corpus import sentences
from training.evaluate import evaluate
from training.evaluate_tasks import evaluate_tasks
from training.inherit import inherit
from training.towers import ClipTrainer, TowerTrainer
from training.train import Phase, run_phase, stream
from training.whole import GlammTrainer

# Far beyond what the first phase reads, so that the second sees new scenes.
WHOLE_STARTS_AT = 1_000_000
CLIP_STARTS_AT = 3_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fit = commands.add_parser("fit", help="train, from nothing or on; run again to go on where it stopped")
    fit.add_argument("--config", default="glamm-scenes", help="a shipped configuration (default: %(default)s)")
    fit.add_argument("--work", type=Path, required=True, help="folder of the training's state and logs")
    fit.add_argument("--out", type=Path, required=True, help="folder of the finished checkpoint")
    fit.add_argument("--from", dest="start", type=Path, help="a checkpoint to begin with (default: from nothing)")
    fit.add_argument("--clip-steps", type=int, default=0, help="with --from: train the CLIP tower alone, before all")
    fit.add_argument("--train-towers", action="store_true", help="with --from: train the image encoders along")
    fit.add_argument("--tower-steps", type=int, default=1700)
    fit.add_argument("--steps", type=int, default=4000)
    fit.add_argument("--batch", type=int, default=16)
    fit.add_argument("--rate", type=float, default=1e-3)
    fit.add_argument("--workers", type=int, default=1, help="processes that compose scenes (default: %(default)s)")
    fit.add_argument("--seed", type=int, default=0)
    measure = commands.add_parser("evaluate", help="every task on test scenes")
    measure.add_argument("checkpoint", type=Path)
    measure.add_argument("--count", type=int, default=200)
    measure.add_argument("--first", type=int, default=0, help="number of the first test scene")
    arguments = parser.parse_args()
    if arguments.command == "fit":
        train(arguments)
    else:
        glamm = Glamm.load(arguments.checkpoint)
        captions = evaluate(glamm, arguments.count, arguments.first)
        others = evaluate_tasks(glamm, arguments.count, arguments.first)
        print(json.dumps(dataclasses.asdict(captions) | dataclasses.asdict(others)))


def train(arguments: argparse.Namespace) -> None:
    config = GlammConfig.preset(arguments.config)
    work, out = arguments.work, arguments.out
    work.mkdir(parents=True, exist_ok=True)
    if not (work / TOKENIZER_FILE).exists():
        tokenizer_training.train(sentences(), config.llm.vocab_size).save(str(work / TOKENIZER_FILE))
    tokenizer = GlammTokenizer.read(work)
    if arguments.start is None:
        whole = _from_nothing(arguments, config, tokenizer)
    else:
        whole = _from_checkpoint(arguments, config, tokenizer)
    phase = Phase("glamm", arguments.steps, arguments.batch, arguments.rate)
    first = WHOLE_STARTS_AT * (1 if arguments.start is None else 2)
    run_phase(phase, whole, stream(config, tokenizer, phase, first, arguments.workers), work)

    out.mkdir(parents=True, exist_ok=True)
    (out / CONFIG_FILE).write_text(config.to_json())
    (out / TOKENIZER_FILE).write_text((work / TOKENIZER_FILE).read_text())
    for part, module in {"vision": whole.vision, "llm": whole.lmm, "pixel": whole.pixel}.items():
        save_part(out, part, module.state_dict())


def _from_checkpoint(arguments: argparse.Namespace, config: GlammConfig, tokenizer: GlammTokenizer) -> GlammTrainer:
    """The whole model as it was saved, its CLIP tower trained on where that is asked for."""
    torch.manual_seed(arguments.seed)
    whole = GlammTrainer(config, tokenizer, None, towers=arguments.train_towers)
    inherit(whole, arguments.start, tokenizer)
    if arguments.clip_steps:
        clip = ClipTrainer(config, whole.vision.clip.requires_grad_())
        phase = Phase("clip", arguments.clip_steps, 2 * arguments.batch, arguments.rate)
        run_phase(phase, clip, stream(config, tokenizer, phase, CLIP_STARTS_AT, arguments.workers), arguments.work)
        whole.vision.clip.requires_grad_(arguments.train_towers)
    return whole


def _from_nothing(arguments: argparse.Namespace, config: GlammConfig, tokenizer: GlammTokenizer) -> GlammTrainer:
    """The whole model on towers that learn first."""
    torch.manual_seed(arguments.seed)
    towers = TowerTrainer(config)
    phase = Phase("towers", arguments.tower_steps, arguments.batch, arguments.rate)
    run_phase(phase, towers, stream(config, tokenizer, phase, 0, arguments.workers), arguments.work)
    torch.manual_seed(arguments.seed + 1)
    whole = GlammTrainer(config, tokenizer, towers.class_prompts.weight.detach().clone())
    whole.vision.load_state_dict(towers.vision.state_dict())
    whole.pixel.load_state_dict(towers.pixel.state_dict())
    return whole


if __name__ == "__main__":
    main()
