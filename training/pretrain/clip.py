"""The global image encoder by itself: every cell of its grid says what it shows."""

from collections.abc import Iterator
from itertools import count

import torch
from PIL import Image
from torch import Tensor

from shared.model.clip import GlobalImageEncoder
from shared.model.config import ClipConfig
from shared.model.images import clip_pixels
from training.pretrain.cells import CellHeads, Cells, cells
from training.pretrain.phase import Learner
from training.scenes.compose import crowd, scene

Batch = tuple[Tensor, Cells]


class ClipLearner(Learner):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = GlobalImageEncoder(config)
        self.heads = CellHeads(config.width)

    def examples(self, first: int, batch: int, apart: int) -> Iterator[Batch]:
        for start in count(first, apart):
            made = [crowd(number) if number % 4 else scene(number, "train") for number in range(start, start + batch)]
            pixels = [clip_pixels(Image.fromarray(each.image), self.config.image_size) for each in made]
            yield torch.stack(pixels), Cells.stack([cells(each, self.config.grid) for each in made])

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        pixels, wanted = batch
        return self.heads.loss(self.encoder.global_tokens(pixels), wanted)
