"""The grounding image encoder: SAM's ViT with relative positions and windowed attention."""

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor, nn
from torch.nn import functional as F

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
        for block in self.encoder.blocks:
            side = block.window_size or config.grid
            block.attn = FusedAttention(config.width, config.heads, use_rel_pos=True, input_size=(side, side))

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: (b, 3, I, I) normalised, zero outside the resized image → (b, prompt_dim, I/16, I/16)."""
        embedding: Tensor = self.encoder(pixels)
        return embedding


class FusedAttention(Attention):  # type: ignore[misc]
    """SAM's attention through `scaled_dot_product_attention`, which never holds the scores of all pairs at once.

    SAM adds to the score of a query and a key one term for the key's row and one for its column. Both become part of
    the product of query and key: the query is continued by its terms for every row and column, the key by ones at its
    own. At 1024 px that saves the two maps of 4096 × 4096 a head that scores and terms would take.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(b, h, w, width) → the same shape."""
        b, h, w, _ = x.shape
        query, key, value = self.qkv(x).reshape(b, h * w, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        grid = query.unflatten(2, (h, w))
        for_rows = torch.einsum("bnhwc,hkc->bnhwk", grid, get_rel_pos(h, h, self.rel_pos_h)).flatten(2, 3)
        for_columns = torch.einsum("bnhwc,wkc->bnhwk", grid, get_rel_pos(w, w, self.rel_pos_w)).flatten(2, 3)
        row = torch.eye(h, device=x.device, dtype=key.dtype).repeat_interleave(w, 0)
        column = torch.eye(w, device=x.device, dtype=key.dtype).repeat(h, 1)
        own = torch.cat([row, column], -1).expand(*key.shape[:3], -1)
        seen = F.scaled_dot_product_attention(
            torch.cat([query * self.scale, for_rows, for_columns], -1), torch.cat([key, own], -1), value, scale=1.0
        )
        projected: Tensor = self.proj(seen.transpose(1, 2).reshape(b, h, w, -1))
        return projected
