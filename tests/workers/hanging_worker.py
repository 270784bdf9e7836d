"""A vision worker whose device never comes back from a step."""

import threading
from collections.abc import Sequence

from shared import logs
from shared.jobs import Stage
from shared.settings import get_settings
from workers.core import BatchCore
from workers.engine import Engine
from workers.process import WorkerProcess, open_station
from workers.station import Station


def hang(_batch: Sequence[object]) -> list[object]:
    threading.Event().wait()
    return []


def main(_arguments: Sequence[str]) -> int:
    settings = get_settings()
    logs.configure("hanging-worker", settings)
    sound = open_station(Stage.VISION, settings)
    station = Station(sound.work, Engine(BatchCore(hang), 8, "vision"))
    return WorkerProcess(settings, [station], 2, "hanging").run()
