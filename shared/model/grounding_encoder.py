"""The grounding image encoder: SAM's ViT with relative positions and windowed attention."""

from functools import partial

from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, nn

from shared.model.config import SamConfig


class GroundingImageEncoder(nn.Module):
    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.encoder = ImageEncoderViT(
            img_size=config.image_size,
            patch_size=config.patch_size,
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            out_chans=config.prompt_dim,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=config.window,
            global_attn_indexes=config.global_attention,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (b, 3, I, I) normalised, zero outside the resized image → (b, prompt_dim, I/16, I/16)."""
        embedding: Tensor = self.encoder(pixels)
        return embedding
