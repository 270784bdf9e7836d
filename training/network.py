"""The whole of GLaMM as one module to train: conversations in, the paper's losses out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared.model import parts
from shared.model.config import GlammConfig
from shared.model.images import resized_size
from shared.model.lmm import Lmm
from shared.model.pixel_decoder import PixelDecoder
from shared.model.tokenizer import GlammTokenizer
from shared.model.vision_encoders import VisionEncoders
from training.batches import Batch
from training.forward import read, see
from training.losses import BCE_WEIGHT, DICE_WEIGHT, TEXT_WEIGHT, mask_bce, mask_dice, next_token


@dataclass(frozen=True)
class LossWeights:
    text: float = TEXT_WEIGHT
    bce: float = BCE_WEIGHT
    dice: float = DICE_WEIGHT


class GlammNetwork(nn.Module):
    def __init__(
        self,
        config: GlammConfig,
        tokenizer: GlammTokenizer,
        vision: VisionEncoders,
        lmm: Lmm,
        pixel: PixelDecoder,
        weights: LossWeights,
    ) -> None:
        super().__init__()
        self.config, self.tokenizer, self.weights = config, tokenizer, weights
        self.vision, self.lmm, self.pixel = vision, lmm, pixel

    @property
    def groups(self) -> dict[str, nn.Module]:
        """The modules by their names in a checkpoint."""
        return dict(zip(parts.BUILDERS, (self.vision, self.lmm, self.pixel), strict=True))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`loss`, the weighted sum, and its terms `text`, `bce` and `dice` before weighting. Scalars.

        Masks are compared at the size of their picture, after the same upscaling as in the pixel stage.
        """
        seen = see(self.vision.clip, self.vision.region, self.config, batch.clip, batch.boxes)
        said = read(self.lmm, batch.ids, batch.answers, seen, self.tokenizer.bbox, self.tokenizer.seg)
        text = next_token(self.lmm.logits(said.states[said.predictors]), said.targets)
        vectors = self.lmm.prompt_vectors(said.states[said.seg_predictors])
        bce, dice = self._mask_losses(batch, self.vision.grounding(batch.sam), vectors)
        loss = self.weights.text * text + self.weights.bce * bce + self.weights.dice * dice
        return {"loss": loss, "text": text, "bce": bce, "dice": dice}

    def _mask_losses(self, batch: Batch, embeddings: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Means over all the batch's masks. vectors: (n, D), in the order of the masks; 0 where there are none."""
        counts = [len(masks) for masks in batch.masks]
        total = sum(counts)
        if not total:
            # Keeps the L-P projection in the graph, whose gradients every process then has.
            return vectors.sum() * 0, vectors.sum() * 0
        owners = [index for index, count in enumerate(counts) for _ in range(count)]
        low, _ = self.pixel(embeddings[owners], vectors)
        bce, dice = low.new_zeros((), dtype=torch.float32), low.new_zeros((), dtype=torch.float32)
        for logits, masks in zip(low.split(counts), batch.masks, strict=True):
            if len(masks):
                height, width = masks.shape[-2:]
                resized = resized_size(height, width, self.config.sam.image_size)
                full = self.pixel.upscale(logits, resized, (height, width))
                share = len(masks) / total
                bce = bce + share * mask_bce(full, masks.float())
                dice = dice + share * mask_dice(full, masks.float())
        return bce, dice
