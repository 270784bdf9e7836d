"""The parts of GLaMM grouped as they are loaded: one group a stage, one weight file (or several shards) a group."""

from torch import nn

from shared.model.clip import GlobalImageEncoder
from shared.model.config import GlammConfig
from shared.model.grounding_encoder import GroundingImageEncoder
from shared.model.lmm import Lmm
from shared.model.pixel_decoder import PixelDecoder
from shared.model.region import RegionEncoder


class VisionEncoders(nn.Module):
    """The three encoders of the vision stage."""

    def __init__(self, config: GlammConfig) -> None:
        super().__init__()
        self.clip = GlobalImageEncoder(config.clip)
        self.region = RegionEncoder(config.region, config.clip, config.llm.hidden)
        self.grounding = GroundingImageEncoder(config.sam)


def vision(config: GlammConfig) -> VisionEncoders:
    return VisionEncoders(config)


def llm(config: GlammConfig) -> Lmm:
    return Lmm(config.llm, config.clip.width, config.sam.prompt_dim)


def pixel(config: GlammConfig) -> PixelDecoder:
    return PixelDecoder(config.sam)


BUILDERS = {"vision": vision, "llm": llm, "pixel": pixel}
"""Part name → constructor. The names are those of the stages and of the weight files."""
