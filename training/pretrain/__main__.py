"""`python -m training.pretrain`: what a small GLaMM has instead of released parts, from nothing and in three steps.

`clip` and `sam` know nothing of each other and may run at once; `lmm` needs both, and `write` makes the checkpoint that
`glamm train` begins with.
"""

import argparse
from pathlib import Path

import torch

from shared.model.checkpoint import CheckpointError
from shared.model.config import GlammConfig
from shared.model.tokenizer import FILE as TOKENIZER_FILE
from shared.model.tokenizer import GlammTokenizer
from training.pretrain import phase
from training.pretrain.assemble import encoder, prompt_vectors, write
from training.pretrain.clip import ClipLearner
from training.pretrain.inherit import inherit
from training.pretrain.lmm import LmmLearner
from training.pretrain.phase import Learner, Phase
from training.pretrain.sam import SamLearner
from training.pretrain.vocabulary import train_tokenizer

FIRST_SCENE = {"clip": 0, "sam": 10_000_000, "lmm": 20_000_000}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.pretrain", description=(__doc__ or "").partition(": ")[2])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, steps, batch, rate in (("clip", 2400, 16, 1e-3), ("sam", 1800, 16, 8e-4), ("lmm", 3000, 16, 1e-3)):
        command = commands.add_parser(name, help="train, or go on where it stopped")
        _common(command)
        if name != "lmm":
            command.add_argument("--from", dest="start", type=Path, help="a checkpoint whose encoder to begin with")
        command.add_argument(
            "--workers", type=int, choices=(0, 1), default=0, help="compose scenes in a process beside"
        )
        command.add_argument("--steps", type=int, default=steps)
        command.add_argument("--batch", type=int, default=batch)
        command.add_argument("--rate", type=float, default=rate)
    command = commands.add_parser("write", help="make a checkpoint of the three")
    _common(command)
    command.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        _run(options)
    except (CheckpointError, OSError) as error:
        # A preset, checkpoint or earlier step that is not there.
        parser.error(" ".join(str(error).split()))


def _run(options: argparse.Namespace) -> None:
    config = GlammConfig.preset(options.config)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.command == "write":
        write(config, options.work, options.out)
        return
    torch.manual_seed(0)
    learner = _learner(config, options)
    one = Phase(options.command, options.steps, options.batch, options.rate)
    phase.run(one, learner, options.work, FIRST_SCENE[options.command], options.workers)


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", default="glamm-scenes", help="a shipped configuration (default: %(default)s)")
    command.add_argument("--work", type=Path, required=True, help="folder of all states and logs")


def _learner(config: GlammConfig, options: argparse.Namespace) -> Learner:
    if options.command == "lmm":
        if not (options.work / TOKENIZER_FILE).exists():
            train_tokenizer(config.llm.vocab_size).save(str(options.work / TOKENIZER_FILE))
        tokenizer = GlammTokenizer.read(options.work)
        return LmmLearner(config, tokenizer, encoder(config, options.work), prompt_vectors(config, options.work))
    learner = ClipLearner(config.clip) if options.command == "clip" else SamLearner(config.sam)
    if options.start is not None:
        inherit(learner, options.start)
    return learner


if __name__ == "__main__":
    main()
