"""`python -m training.pretrain`: what a small GLaMM has instead of released parts, from nothing and in three steps.

`clip` and `sam` know nothing of each other and may run at once; `lmm` needs both, and `write` makes the checkpoint that
`glamm train` begins with.
"""

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist

from shared.errors import InvalidInput
from shared.model.checkpoint import CheckpointError
from shared.model.config import GlammConfig
from shared.model.tokenizer import FILE as TOKENIZER_FILE
from shared.model.tokenizer import GlammTokenizer
from shared.stages.device import resolve_device
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
    for name, steps, batch, rate in (("clip", 6000, 16, 1e-3), ("sam", 5000, 16, 8e-4), ("lmm", 5000, 8, 1e-3)):
        command = commands.add_parser(name, help="train, or go on where it stopped")
        _common(command)
        command.add_argument("--from", dest="start", type=Path, help="a checkpoint whose part to begin with")
        command.add_argument(
            "--first-scene",
            type=int,
            default=FIRST_SCENE[name],
            help="other ones than an earlier run's, where it goes on from a checkpoint (default: %(default)s)",
        )
        command.add_argument("--workers", type=_count, default=0, help="compose scenes in so many processes beside")
        command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
        command.add_argument(
            "--half", action="store_true", help="multiply in bfloat16 (a CPU's lscpu: avx512_bf16, amx_bf16)"
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
    except (CheckpointError, InvalidInput, OSError) as error:
        # A preset, checkpoint, device or earlier step that is not there.
        parser.error(" ".join(str(error).split()))


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is less than 0")
    return number


def _run(options: argparse.Namespace) -> None:
    config = GlammConfig.preset(options.config)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.command == "write":
        write(config, options.work, options.out)
        return
    device = phase.own_device(resolve_device(options.device))
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group(
            "gloo" if device.type == "cpu" else "nccl", device_id=None if device.type == "cpu" else device
        )
    torch.manual_seed(0)
    learner = _learner(config, options)
    one = Phase(options.command, options.steps, options.batch, options.rate, options.half)
    phase.run(one, learner, options.work, options.first_scene, options.workers, device)


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", default="glamm-scenes", help="a shipped configuration (default: %(default)s)")
    command.add_argument("--work", type=Path, required=True, help="folder of all states and logs")


def _learner(config: GlammConfig, options: argparse.Namespace) -> Learner:
    learner: ClipLearner | SamLearner | LmmLearner
    match options.command:
        case "clip":
            learner = ClipLearner(config.clip)
        case "sam":
            learner = SamLearner(config.sam)
        case _:
            clip, prompts = encoder(config, options.work), prompt_vectors(config, options.work)
            learner = LmmLearner(config, _tokenizer(config, options), clip, prompts)
    if options.start is not None:
        inherit(learner, options.start)
    return learner


def _tokenizer(config: GlammConfig, options: argparse.Namespace) -> GlammTokenizer:
    """The work folder's; where it has none yet, that of the checkpoint to begin with, else a new one."""
    file = options.work / TOKENIZER_FILE
    if not file.exists():
        if options.start is not None:
            GlammTokenizer.read(options.start).tokenizer.save(str(file))
        else:
            train_tokenizer(config.llm.vocab_size).save(str(file))
    return GlammTokenizer.read(options.work)


if __name__ == "__main__":
    main()
