"""Attention without a map of all pairs gives the numbers of segment-anything's own."""

import pytest
import torch
from segment_anything.modeling.image_encoder import Attention

from shared.model.grounding_encoder import FusedAttention, GroundingImageEncoder
from tests.tiny import TINY


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("side", [(7, 7), (5, 9)])
@torch.inference_mode()
def test_fused_attention_is_sams(side: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain, fused = (
        kind(48, 4, use_rel_pos=True, qkv_bias=True, input_size=side) for kind in (Attention, FusedAttention)
    )
    for value in plain.state_dict().values():
        value.normal_(std=0.3)
    fused.load_state_dict(plain.state_dict())
    maps = torch.randn(3, *side, 48)
    expected = plain(maps)
    got = fused.to(dtype)(maps.to(dtype)).float()
    if dtype is torch.float32:
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    else:
        rounded = plain.to(dtype)(maps.to(dtype)).float()
        assert (got - expected).abs().max() <= 1.5 * (rounded - expected).abs().max()


def test_every_block_has_it() -> None:
    blocks = GroundingImageEncoder(TINY.sam).encoder.blocks
    assert all(type(block.attn) is FusedAttention for block in blocks)
    assert {block.window_size for block in blocks} == {TINY.sam.window, 0}
