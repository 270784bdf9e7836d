"""Properties of the parts that hold at any size."""

import pytest
import torch
from PIL import Image
from segment_anything.modeling import MaskDecoder

from shared.model import parts
from shared.model.images import clip_pixels, resized_size, sam_pixels
from shared.model.lmm import expanded_positions
from shared.model.region import exchange_channels
from shared.model.tokenizer import IMAGE_PLACEHOLDER
from tests.tiny import TINY


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


def test_prompts_of_many_images_decode_as_sam_decodes_one() -> None:
    """Our batched pass over SAM's mask decoder against segment-anything's own, image by image."""
    decoder = parts.pixel(TINY).eval()
    embeddings, prompts = torch.randn(3, 32, 4, 4), torch.randn(3, 32)
    with torch.inference_mode():
        masks, quality = decoder(embeddings, prompts)
        for index in range(3):
            own: MaskDecoder = decoder.mask_decoder
            expected, expected_quality = own(
                image_embeddings=embeddings[index : index + 1],
                image_pe=decoder.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=prompts[index].reshape(1, 1, -1),
                dense_prompt_embeddings=decoder.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(
                    1, -1, 4, 4
                ),
                multimask_output=False,
            )
            torch.testing.assert_close(masks[index], expected[0, 0])
            torch.testing.assert_close(quality[index], expected_quality[0, 0])


def test_region_tokens_do_not_depend_on_their_neighbours() -> None:
    vision = parts.vision(TINY).eval()
    pixels = torch.randn(2, 3, 56, 56)
    boxes = [torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.2, 0.0, 1.0, 0.9]]), torch.tensor([[0.0, 0.0, 0.3, 0.3]])]
    with torch.inference_mode():
        levels = vision.clip(pixels, TINY.region.levels[::-1])
        both = vision.region(levels, boxes)
        alone = vision.region([level[1:] for level in levels], boxes[1:])
    assert [tokens.shape for tokens in both] == [(2, 32), (1, 32)]
    torch.testing.assert_close(both[1], alone[0], rtol=1e-4, atol=1e-5)


def test_channels_are_exchanged_as_in_the_reference() -> None:
    """Half stays; the third quarter is the deeper level's last, the last quarter the shallower level's third."""
    levels = [torch.full((1, 8, 2, 2), float(10 * level)) + torch.arange(8.0).reshape(1, 8, 1, 1) for level in range(3)]
    middle = exchange_channels(levels, 1)[0, :, 0, 0].tolist()
    assert middle == [10, 11, 12, 13, 26, 27, 4, 5]
    assert exchange_channels(levels, 0)[0, :, 0, 0].tolist() == [0, 1, 2, 3, 16, 17, 4, 5]
    assert exchange_channels(levels, 2)[0, :, 0, 0].tolist() == [20, 21, 22, 23, 26, 27, 14, 15]


def test_clip_hidden_states_are_counted_from_the_end() -> None:
    clip = parts.vision(TINY).clip.eval()
    pixels = torch.randn(1, 3, 56, 56)
    with torch.inference_mode():
        last, first, again = clip(pixels, [-1, -4, -1])
        assert torch.equal(clip.global_tokens(pixels), last)
    assert torch.equal(last, again)
    assert not torch.equal(last, first)
    assert last.shape == (1, 16, 64)


def test_the_image_and_regions_take_their_places_among_the_words() -> None:
    lmm = parts.llm(TINY).eval()
    ids = torch.tensor([1, 5, IMAGE_PLACEHOLDER, 9, 6, 9])
    image, regions = torch.randn(16, 64), torch.randn(2, 32)
    with torch.inference_mode():
        embedded = lmm.embed(ids, image, regions, bbox_id=9)
        assert embedded.shape == (21, 32)
        assert torch.equal(embedded[2:18], lmm.projector(image))
        assert torch.equal(embedded[18], regions[0])
        assert torch.equal(embedded[20], regions[1])
        with pytest.raises(ValueError, match="2 region tokens for 1"):
            lmm.embed(ids[:-1], image, regions, bbox_id=9)
    assert expanded_positions(ids.tolist(), 16) == [0, 1, 2, 18, 19, 20]


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (1000, 17)])
def test_preprocessing_gives_the_towers_their_sizes(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (200, 100, 50))
    assert clip_pixels(image, 112).shape == (3, 112, 112)
    pixels = sam_pixels(image, 256)
    height, width = resized_size(size[1], size[0], 256)
    assert max(height, width) == 256
    assert bool((pixels[:, :height, :width] != 0).all())
    assert not pixels[:, height:].any()
    assert not pixels[:, :, width:].any()
    assert pixels[0, 0, 0] == pytest.approx((200 - 123.675) / 58.395, rel=1e-5)
