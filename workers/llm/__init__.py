"""Prompt and image tokens → answer and prompt vectors, in Postgres."""

from shared.settings import Settings
from shared.stages.llm import LlmStage
from workers.engine import Engine, urgent_places
from workers.llm.telling import Teller
from workers.llm.work import LlmWork
from workers.station import Station, feature_store, placement


def open_station(settings: Settings) -> Station:
    """Load the language model. Raises CheckpointError."""
    stage = LlmStage.load(settings.checkpoint, *placement(settings), settings.max_new_tokens)
    work = LlmWork(stage, feature_store(settings), Teller(settings.broker_url))
    places, reserve = settings.llm_batch, urgent_places(settings.llm_batch)
    return Station(work, Engine(stage.stepper(places, reserve), places, "llm", reserve))
