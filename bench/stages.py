"""Seconds and peak memory of each stage for one job, from pixels to masks.

    python -m bench.stages --checkpoint data/checkpoints/glamm-7b-random --device cuda --dtype bfloat16 --json

Each stage gets what the one before it made, and is loaded, run and dropped before the next, as if it had the device to
itself; of several runs the fastest counts, after one that nobody counts. The answer has --tokens tokens, and its prompt
vectors make --masks masks, so that random weights cost what trained ones do: where there are fewer vectors, they are
repeated, and where the answer says no [SEG], its commonest token stands for it. `llm` tells how many [SEG] were said,
and `pixel` from how many vectors the masks are made.

The last line of output is a JSON object, which ends with the seconds and the peak memory of every stage.
"""

import argparse
import gc
import json
import re
import time
from collections import Counter
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
from shared.stages.generation import LlmAnswer, LlmInput, LlmOutput
from shared.stages.llm import LlmStage
from shared.stages.pixel import PixelInput, PixelStage, RawAnswer
from shared.stages.vision import VisionOutput, VisionStage
from shared.tasks import Ask, Task

Result = TypeVar("Result")
Stage = TypeVar("Stage", VisionStage, LlmStage, PixelStage)
Figures = dict[str, float]
WIDTH, HEIGHT = 1024, 768
PEAK_RESET = Path("/proc/self/clear_refs")
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.stages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED_CHECKPOINT)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    parser.add_argument("--compile", action="store_true", help="torch.compile for vision and pixel")
    parser.add_argument("--tokens", type=int, default=64, help="length of the answer")
    parser.add_argument("--masks", type=int, default=4, help="masks of the answer")
    parser.add_argument("--boxes", type=int, default=0, help="regions that the vision stage describes")
    parser.add_argument("--batch", type=int, default=1, help="jobs of one batch")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    arguments = parser.parse_args()
    figures = Bench(arguments).run()
    if not arguments.json:
        for name, value in figures.items():
            print(f"{name:12} {value}")
    print(json.dumps(figures, separators=(",", ":")))


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
        stages = {"vision": vision, "llm": llm, "pixel": self.pixel(seen, answers)}
        by_stage = {
            name: {key: figures.pop(key) for key in ("seconds", "peak_gib")} for name, figures in stages.items()
        }
        return {
            "checkpoint": self.asked.checkpoint.name,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "dtype": self.asked.dtype,
            "compiled": self.compiled,
            "batch": self.asked.batch,
            **stages,
            "seconds": round(sum(figures["seconds"] for figures in by_stage.values()), 4),
            "by_stage": by_stage,
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

        said: list[int] = []

        def run(stage: LlmStage) -> list[LlmOutput]:
            outputs = stage.run(inputs(stage))
            answer = outputs[0].answers[0]
            said.append(len(answer.prompt_vectors))
            if not said[-1]:
                # From the next run on, which is the first that counts.
                stage.tokenizer.seg = Counter(answer.token_ids).most_common(1)[0][0]
            return outputs

        def first(stage: LlmStage) -> object:
            stepper = stage.stepper(len(seen))
            for key, item in enumerate(inputs(stage)):
                stepper.admit(key, item)
            return stepper.step()

        answers, figures = self._measured(load, run, first)
        decoding = figures["seconds"] - figures["first_seconds"]
        lengths = [len(output.answers[0].token_ids) for output in answers]
        steps = max(lengths) - 1
        figures |= {"tokens": lengths[0], "seg": said[0]}
        figures["milliseconds_a_token"] = round(1000 * decoding / max(1, steps), 2)
        return answers, figures

    def pixel(self, seen: list[VisionOutput], answers: list[LlmOutput]) -> Figures:
        # All jobs are of one picture, and so have one answer.
        answer = answers[0].answers[0]
        batch = [
            PixelInput(
                sam_embedding=_there(tokens.sam_embedding),
                width=self.picture.width,
                height=self.picture.height,
                answers=(_with_masks(answer, self.asked.masks),),
            )
            for tokens in seen
        ]

        def load() -> PixelStage:
            return PixelStage.load(self.asked.checkpoint, self.device, self.dtype, self.compiled)

        vectors = min(self.asked.masks, len(answer.prompt_vectors))
        figures = self._measured(load, lambda stage: stage.run(batch))[1]
        return figures | {"masks": self.asked.masks, "vectors": vectors}

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
        run(stage)
        result, figures["seconds"] = self._fastest(lambda: run(stage))
        if first is not None:
            figures["first_seconds"] = self._fastest(lambda: first(stage))[1]
        figures["peak_gib"] = self._memory(peak=True)
        return result, figures

    def _fastest(self, run: Callable[[], Result]) -> tuple[Result, float]:
        """The last result, and the seconds of the fastest run."""
        took = []
        for _ in range(self.asked.runs):
            self._wait()
            began = time.perf_counter()
            result = run()
            self._wait()
            took.append(time.perf_counter() - began)
        return result, round(min(took), 4)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _forget(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            # Linux: the peak counts from here.
            PEAK_RESET.write_text("5")

    def _memory(self, peak: bool = False) -> float:
        """GiB: the device's own on CUDA; on the CPU the whole process, libraries and all."""
        if self.device.type == "cuda":
            count = torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated
            return round(int(count(self.device)) / 2**30, 3)
        if peak:
            found = PEAK.search(Path("/proc/self/status").read_text())
            assert found is not None, "Linux tells a process its peak"
            return round(int(found[1]) / 2**20, 3)
        return round(int(psutil.Process().memory_info().rss) / 2**30, 3)


def _with_masks(answer: LlmAnswer, masks: int) -> RawAnswer:
    """An answer that says as many [SEG] as there are to be masks, with the vectors of this one in turn."""
    text = " ".join("<p> thing </p> [SEG]" for _ in range(masks))
    return RawAnswer(text, answer.prompt_vectors[torch.arange(masks) % len(answer.prompt_vectors)])


def _there(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None, "an encoded image has all of its parts"
    return tensor


if __name__ == "__main__":
    main()
