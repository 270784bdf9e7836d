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
            mlp_ratio=config.mlp_width / config.width,
            act_layer=QuickGELU,
            output_dim=config.width,
        )
        # GLaMM reads hidden states only; the contrastive projection has no counterpart in its weights.
        self.tower.proj = None

    def forward(self, pixels: Tensor, states: Sequence[int]) -> list[Tensor]:
        """pixels: (b, 3, S, S) normalised → one (b, grid², width) for each of `states`, CLS dropped.

        `states` counts from the end: -1 is the last block's output.
        """
        blocks = [self.config.layers + state for state in states]
        wanted = sorted(set(blocks))
        levels = self.tower.forward_intermediates(
            pixels, indices=wanted, stop_early=True, output_fmt="NLC", intermediates_only=True
        )["image_intermediates"]
        by_block = dict(zip(wanted, levels, strict=True))
        return [by_block[block] for block in blocks]

    def global_tokens(self, pixels: Tensor) -> Tensor:
        """(b, 3, S, S) → (b, grid², width)."""
        tokens: Tensor = self(pixels, [self.config.select_layer])[0]
        return tokens


def as_maps(tokens: Tensor, grid: int) -> Tensor:
    """(b, grid², c) row-major tokens → (b, c, grid, grid)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], grid, grid)
