"""Seconds and peak memory of each stage for one job, from pixels to masks.

    python -m bench.stages --checkpoint data/checkpoints/glamm-7b-random --device cuda --dtype bfloat16 --json

Each stage is loaded, run and dropped before the next, as if it had the device to itself; of several runs the fastest
counts, after one that nobody counts. The answer has as many tokens as --tokens says, so that random weights cost what
trained ones do. The last line of output is a JSON object.
"""

import argparse
import gc
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import torch
from PIL import Image

from shared.masks import Box
from shared.settings import SHIPPED_CHECKPOINT
from shared.stages.device import resolve_compile, resolve_device, resolve_dtype
from shared.stages.generation import LlmInput, LlmOutput
from shared.stages.llm import LlmStage
from shared.stages.pixel import PixelInput, PixelStage, RawAnswer
from shared.stages.vision import VisionOutput, VisionStage
from shared.tasks import Ask, Task

Result = TypeVar("Result")
Stage = TypeVar("Stage", VisionStage, LlmStage, PixelStage)
Figures = dict[str, float]
WIDTH, HEIGHT = 1024, 768


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.stages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED_CHECKPOINT)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    parser.add_argument("--compile", action="store_true", help="torch.compile for vision and pixel")
    parser.add_argument("--tokens", type=int, default=64, help="length of the answer")
    parser.add_argument("--masks", type=int, default=4, help="[SEG] in the answer")
    parser.add_argument("--boxes", type=int, default=0, help="regions that the vision stage describes")
    parser.add_argument("--batch", type=int, default=1, help="jobs of one batch")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    arguments = parser.parse_args()
    figures = Bench(arguments).run()
    if not arguments.json:
        for name, value in figures.items():
            print(f"{name:12} {value}")
    print(json.dumps(figures))


class Bench:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.asked = arguments
        self.device, self.dtype = resolve_device(arguments.device), resolve_dtype(arguments.dtype)
        self.compiled = resolve_compile(arguments.compile)
        noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        self.picture = Image.fromarray(noise)

    def run(self) -> dict[str, object]:
        seen, vision = self.vision()
        answers, llm = self.llm(seen)
        pixel = self.pixel(seen, answers)
        return {
            "checkpoint": self.asked.checkpoint.name,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "dtype": self.asked.dtype,
            "compiled": self.compiled,
            "batch": self.asked.batch,
            "seconds": round(vision["seconds"] + llm["seconds"] + pixel["seconds"], 4),
            "vision": vision,
            "llm": llm,
            "pixel": pixel,
        }

    def vision(self) -> tuple[list[VisionOutput], Figures]:
        def load() -> VisionStage:
            return VisionStage.load(self.asked.checkpoint, self.device, self.dtype, self.compiled)

        def run(stage: VisionStage) -> list[VisionOutput]:
            boxes: list[Box] = [(0.0, 0.0, 10.0 + n, 10.0 + n) for n in range(self.asked.boxes)]
            return stage.run([stage.prepare(self.picture, boxes) for _ in range(self.asked.batch)])

        return self._measured(load, run)

    def llm(self, seen: list[VisionOutput]) -> tuple[list[LlmOutput], Figures]:
        def load() -> LlmStage:
            stage = LlmStage.load(self.asked.checkpoint, self.device, self.dtype, self.asked.tokens)
            # Never said, so that the answer has its full length.
            stage.tokenizer.eos = -1
            return stage

        def inputs(stage: LlmStage) -> list[LlmInput]:
            return [stage.prepare(Ask(Task.GCG), _there(tokens.global_tokens)) for tokens in seen]

        def first(stage: LlmStage) -> object:
            stepper = stage.stepper(len(seen))
            for key, item in enumerate(inputs(stage)):
                stepper.admit(key, item)
            return stepper.step()

        answers, figures = self._measured(load, lambda stage: stage.run(inputs(stage)), first)
        decoding = figures["seconds"] - figures["first_seconds"]
        lengths = [len(output.answers[0].token_ids) for output in answers]
        steps = max(lengths) - 1
        figures["tokens"] = lengths[0]
        figures["milliseconds_a_token"] = round(1000 * decoding / max(1, steps), 2)
        return answers, figures

    def pixel(self, seen: list[VisionOutput], answers: list[LlmOutput]) -> Figures:
        """Of an answer with as many [SEG] as asked for: what random weights say holds none to rely on."""
        width = answers[0].answers[0].prompt_vectors.shape[1]
        text = " ".join("<p> thing </p> [SEG]" for _ in range(self.asked.masks))
        batch = [
            PixelInput(
                sam_embedding=_there(tokens.sam_embedding),
                width=self.picture.width,
                height=self.picture.height,
                answers=(RawAnswer(text, torch.zeros(self.asked.masks, width)),),
            )
            for tokens in seen
        ]

        def load() -> PixelStage:
            return PixelStage.load(self.asked.checkpoint, self.device, self.dtype, self.compiled)

        return self._measured(load, lambda stage: stage.run(batch))[1] | {"masks": self.asked.masks}

    def _measured(
        self,
        load: Callable[[], Stage],
        run: Callable[[Stage], Result],
        first: Callable[[Stage], object] | None = None,
    ) -> tuple[Result, Figures]:
        self._forget()
        began = time.perf_counter()
        stage = load()
        self._wait()
        figures: Figures = {"load_seconds": round(time.perf_counter() - began, 3), "weights_gib": self._memory()}
        result = run(stage)
        figures["seconds"] = self._fastest(lambda: run(stage))
        if first is not None:
            figures["first_seconds"] = self._fastest(lambda: first(stage))
        figures["peak_gib"] = self._memory(peak=True)
        return result, figures

    def _fastest(self, run: Callable[[], object]) -> float:
        took = []
        for _ in range(self.asked.runs):
            self._wait()
            began = time.perf_counter()
            run()
            self._wait()
            took.append(time.perf_counter() - began)
        return round(min(took), 4)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _forget(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def _memory(self, peak: bool = False) -> float:
        """GiB: the device's own on CUDA; on the CPU the whole process, whose peak is that of all stages so far."""
        if self.device.type == "cuda":
            count = torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated
            return round(int(count(self.device)) / 2**30, 3)
        if peak:
            return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)
        return round(int(psutil.Process().memory_info().rss) / 2**30, 3)


def _there(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None, "an encoded image has all of its parts"
    return tensor


if __name__ == "__main__":
    main()
