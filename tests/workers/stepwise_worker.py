"""A worker of one stage whose engine begins a step only where the test permits it, so that steps can be counted."""

from collections.abc import Sequence
from typing import Any

import redis

from shared import logs
from shared.jobs import Stage
from shared.settings import get_settings
from workers.core import Core
from workers.process import WorkerProcess, open_station

PERMITS = "permits"
"""A list in the broker, with an entry for each step that may be taken."""


class Stepwise:
    """The engine's core, but that each step waits for its permit."""

    def __init__(self, core: Core[Any, Any], broker_url: str) -> None:
        self._core = core
        self._redis = redis.Redis.from_url(broker_url)
        self.admit, self.drop, self.shrink = core.admit, core.drop, core.shrink

    def step(self) -> Sequence[tuple[int, Any]]:
        self._redis.blpop([PERMITS])
        return self._core.step()


def main(arguments: Sequence[str]) -> int:
    settings = get_settings()
    logs.configure("stepwise-worker", settings)
    _, stage, _, concurrency = arguments
    station = open_station(Stage(stage), settings)
    station.engine._core = Stepwise(station.engine._core, settings.broker_url)
    return WorkerProcess(settings, [station], int(concurrency), "stepwise").run()
