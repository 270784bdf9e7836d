"""Image and boxes → tokens and embedding, in the features store."""

from shared.objects import ObjectStore
from shared.settings import Settings
from shared.stages.device import resolve_compile
from shared.stages.vision import VisionStage
from workers.core import BatchCore
from workers.engine import Engine
from workers.station import Station, feature_store, placement
from workers.vision.work import VisionWork, once_each


def open_station(settings: Settings) -> Station:
    """Load the vision encoders. Raises CheckpointError."""
    stage = VisionStage.load(settings.checkpoint, *placement(settings), resolve_compile(settings.compile))
    work = VisionWork(stage, ObjectStore(settings), feature_store(settings), settings)
    return Station(work, Engine(BatchCore(once_each(stage.run)), settings.vision_batch, "vision"))
