"""The parts of GLaMM grouped as they are loaded: one group a stage, one weight file (or several shards) a group.

Each imports its libraries when it is built: a worker starts without those of the other stages.
"""

from typing import TYPE_CHECKING

from shared.model.config import GlammConfig

if TYPE_CHECKING:
    from shared.model.lmm import Lmm
    from shared.model.pixel_decoder import PixelDecoder
    from shared.model.vision_encoders import VisionEncoders


def vision(config: GlammConfig) -> "VisionEncoders":
    from shared.model.vision_encoders import VisionEncoders

    return VisionEncoders(config)


def llm(config: GlammConfig) -> "Lmm":
    from shared.model.lmm import Lmm

    return Lmm(config.llm, config.clip.width, config.sam.prompt_dim)


def pixel(config: GlammConfig) -> "PixelDecoder":
    from shared.model.pixel_decoder import PixelDecoder

    return PixelDecoder(config.sam)


BUILDERS = {"vision": vision, "llm": llm, "pixel": pixel}
"""Part name → constructor. The names are those of the stages and of the weight files."""
