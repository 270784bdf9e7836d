"""`python -m workers --stages vision,llm,pixel`: one worker process for one or more stages."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence

from shared.errors import InvalidInput, InvalidSettings
from shared.settings import ENV_PREFIX
from shared.starting import begin, refuse
from shared.states import Stage


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers", description="Serve one or more stages of the model.")
    parser.add_argument(
        "--stages", type=_stages, required=True, metavar="STAGE[,STAGE…]", help="vision, llm, pixel, in any combination"
    )
    parser.add_argument(
        "--concurrency",
        type=_positive,
        metavar="N",
        help="jobs under way at once, and a few more that are urgent (default: two batches a stage)",
    )
    options = parser.parse_args(arguments)
    # Until there is work to give back, a stop may come at any moment.
    signal.signal(signal.SIGTERM, _stop)
    process = f"worker-{'-'.join(stage.value for stage in options.stages)}"
    settings = begin(process)

    import torch

    from shared.model.checkpoint import CheckpointError
    from workers.process import WorkerProcess, default_concurrency, open_station

    if settings.torch_threads is not None:
        torch.set_num_threads(settings.torch_threads)
    try:
        stations = [open_station(stage, settings) for stage in options.stages]
    except CheckpointError as error:
        refuse(process, _at_fault("checkpoint", str(error), None))
    except InvalidInput as error:
        refuse(process, _at_fault(str(error.field), error.detail, error.remedy))
    concurrency = options.concurrency or default_concurrency(options.stages, settings)
    status = WorkerProcess(settings, stations, concurrency, f"{socket.gethostname()}:{os.getpid()}").run()
    sys.stderr.flush()
    # A hung engine's thread would hold up the interpreter's own way out.
    os._exit(status)


def _at_fault(setting: str, detail: str, remedy: str | None) -> InvalidSettings:
    variable = f"{ENV_PREFIX}{setting.upper()}"
    return InvalidSettings(f"{variable}: {detail}", field=variable, remedy=remedy)


def _stages(text: str) -> list[Stage]:
    try:
        stages = [Stage(name.strip()) for name in text.split(",")]
    except ValueError:
        known = ", ".join(stage.value for stage in Stage)
        raise argparse.ArgumentTypeError(f"{text!r} names a stage that is none of {known}") from None
    if len(set(stages)) < len(stages):
        raise argparse.ArgumentTypeError(f"{text!r} names a stage twice")
    return stages


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _stop(_number: int, _frame: object) -> None:
    # An exception would be lost where a callback is what the signal interrupts, and each import makes one.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
