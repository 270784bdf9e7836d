"""Embedding and prompt vectors → masks and grounded text, in Postgres."""

from shared.model.checkpoint import fingerprint
from shared.settings import Settings
from shared.stages.device import resolve_compile
from shared.stages.pixel import PixelStage
from workers.engine import Engine, urgent_places
from workers.pixel.work import PixelWork
from workers.station import Station, feature_store, placement


def open_station(settings: Settings) -> Station:
    """Load the pixel decoder. Raises CheckpointError."""
    stage = PixelStage.load(settings.checkpoint, *placement(settings), resolve_compile(settings.compile))
    work = PixelWork(fingerprint(settings.checkpoint), feature_store(settings))
    places = settings.pixel_batch
    return Station(work, Engine(stage.stepper(2 * places), places, "pixel", urgent_places(places)))
