"""The global image encoder: open_clip's vision tower, read at its hidden states."""

from collections.abc import Sequence

from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from shared.model.config import ClipConfig


class GlobalImageEncoder(nn.Module):
    """CLIP ViT. Hidden states are counted as in the paper's code: 0 is the embedding output, i is block i's output."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.tower = VisionTransformer(
            image_size=config.image_size,
            patch_size=config.patch_size,
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            mlp_ratio=_ratio(config.mlp_width, config.width),
            act_layer=QuickGELU,
            output_dim=config.width,
        )
        # GLaMM reads hidden states only; the contrastive projection has no counterpart in its weights.
        self.tower.proj = None

    def forward(self, pixels: Tensor, states: Sequence[int]) -> list[Tensor]:
        """pixels: (b, 3, S, S) normalised → one (b, grid², width) for each of `states`, CLS dropped.

        `states` counts from the end: -1 is the last block's output. Raises ValueError where the tower has no such one.
        """
        blocks = [self.config.layers + state for state in states]
        if not all(-1 <= block < self.config.layers for block in blocks):
            raise ValueError(f"a CLIP tower of {self.config.layers} layers lacks one of the hidden states {[*states]}")
        by_block = {-1: self.tower._embeds(pixels)}
        if later := sorted(set(blocks) - {-1}):
            _, outputs = self.tower.transformer.forward_intermediates(by_block[-1], indices=later, stop_early=True)
            by_block |= zip(later, outputs, strict=True)
        return [by_block[block][:, 1:] for block in blocks]

    def global_tokens(self, pixels: Tensor) -> Tensor:
        """(b, 3, S, S) → (b, grid², width)."""
        tokens: Tensor = self(pixels, [self.config.select_layer])[0]
        return tokens


def as_maps(tokens: Tensor, grid: int) -> Tensor:
    """(b, grid², c) row-major tokens → (b, c, grid, grid)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], grid, grid)


def _ratio(hidden: int, width: int) -> float:
    """The ratio whose product with `width`, cut down to a whole number as open_clip does, is `hidden` exactly."""
    return (hidden + 0.5) / width
