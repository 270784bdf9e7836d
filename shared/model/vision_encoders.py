"""The three encoders of the vision stage, which one worker loads together."""

from torch import nn

from shared.model.clip import GlobalImageEncoder
from shared.model.config import GlammConfig
from shared.model.grounding_encoder import GroundingImageEncoder
from shared.model.region import RegionEncoder


class VisionEncoders(nn.Module):
    """clip: global image encoder; region: region encoder; grounding: grounding image encoder."""

    def __init__(self, config: GlammConfig) -> None:
        super().__init__()
        self.clip = GlobalImageEncoder(config.clip)
        self.region = RegionEncoder(config.region, config.clip, config.llm.hidden)
        self.grounding = GroundingImageEncoder(config.sam)
