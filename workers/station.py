"""A stage as a worker opens it: its work, and the engine with the weights behind it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch

from shared.features import FeatureStore
from shared.model.checkpoint import fingerprint
from shared.settings import Settings
from shared.stages.device import resolve_device, resolve_dtype
from workers.engine import Engine
from workers.work import Work


@dataclass(frozen=True)
class Station:
    """What goes in and out of the engine is the work's affair alone, so the types meet here and are not named."""

    work: Work[Any, Any, Any]
    engine: Engine[Any, Any]


def placement(settings: Settings) -> tuple[torch.device, torch.dtype]:
    """Where the weights go and in which type. Raises InvalidInput for a device that is not here."""
    return resolve_device(settings.device), resolve_dtype(settings.dtype)


def feature_store(settings: Settings) -> FeatureStore:
    """The store under the fingerprint of the checkpoint in use."""
    ttl = timedelta(seconds=settings.feature_ttl_seconds)
    return FeatureStore(settings.features_url, fingerprint(settings.checkpoint), ttl)
