"""How good a network is while it trains: its losses, and the masks' mIoU of captions that it makes itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from shared import masks
from shared.stages.glamm import Glamm, Request
from shared.stages.llm import LlmStage
from shared.stages.pixel import PixelStage
from shared.stages.vision import VisionStage
from training.batches import Batcher, open_picture, truth_masks
from training.config import ValidationConfig
from training.data.mixture import draw
from training.data.sample import Dataset, Sample
from training.metrics.masks import overlaps, paired_iou
from training.network import GlammNetwork

LOSSES = ("loss", "text", "bce", "dice")


class Validation:
    """On the same samples every time, evenly spread over the sources' records; processes share them out."""

    def __init__(
        self, datasets: Sequence[Dataset], config: ValidationConfig, batcher: Batcher, dtype: torch.dtype
    ) -> None:
        """dtype: that captions are generated in."""
        self.config, self.batcher, self.dtype = config, batcher, dtype
        records = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
        chosen = records[:: max(1, len(records) // config.samples)][: config.samples]
        self._samples = [draw(dataset, index) for dataset, index in chosen]
        grounded = [record for record in chosen if record[0].captions]
        self._captions = [draw(dataset, index) for dataset, index in grounded[: config.captions]]

    def run(self, network: GlammNetwork, accelerator: Accelerator) -> dict[str, float]:
        """Means by name: the losses and, where there are grounded captions, `miou` as the paper pairs masks."""
        mine = slice(accelerator.process_index, None, accelerator.num_processes)
        network.eval()
        with torch.no_grad():
            losses = [self._losses(network, sample, accelerator.device) for sample in self._samples[mine]]
        with _of_one_type(network, self.dtype):
            glamm = _chain(network, self.config.max_new_tokens)
            ious = [_miou(glamm, sample) for sample in self._captions[mine]]
        network.train()
        # Sums and counts, since processes may hold unequal numbers.
        sums = [*(sum(values) for values in zip(*losses, strict=True))] or [0.0] * len(LOSSES)
        told = torch.tensor([*sums, len(losses), sum(ious), len(ious)], dtype=torch.float64, device=accelerator.device)
        *totals, count, iou, captions = accelerator.reduce(told, "sum").tolist()
        means = {name: total / count for name, total in zip(LOSSES, totals, strict=True)}
        return means | ({"miou": iou / captions} if captions else {})

    def _losses(self, network: GlammNetwork, sample: Sample, device: torch.device) -> list[float]:
        losses = network(self.batcher([sample]).to(device))
        return [losses[name].item() for name in LOSSES]


@contextmanager
def _of_one_type(network: GlammNetwork, dtype: torch.dtype) -> Iterator[None]:
    """All weights in one type, as a service has them, where training keeps what learns in float32."""
    others = [(parameter, parameter.data) for parameter in network.parameters() if parameter.dtype != dtype]
    try:
        for parameter, data in others:
            parameter.data = data.to(dtype)
        yield
    finally:
        for parameter, data in others:
            parameter.data = data


def _chain(network: GlammNetwork, max_new_tokens: int) -> Glamm:
    """The service's own stages around the network's parts."""
    return Glamm(
        VisionStage(network.vision, network.config, fingerprint=""),
        LlmStage(network.lmm, network.tokenizer, max_new_tokens),
        PixelStage(network.pixel),
    )


def _miou(glamm: Glamm, sample: Sample) -> float:
    image = open_picture(sample)
    (annotation,) = glamm.annotate_batch([Request(image)])
    found = [phrase.rle for answer in annotation.answers for phrase in answer.phrases]
    wanted = [masks.encode(mask) for mask in truth_masks(sample, image.height, image.width).numpy()]
    return paired_iou(overlaps(found, wanted))
