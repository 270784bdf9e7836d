"""The scheduler's process, and what works beside its loop."""

import threading

import pytest

from services.scheduler.loop import Scheduler
from shared import health
from shared.settings import Settings


class Gone:
    name = "webhooks"
    alive = False


def test_a_scheduler_ends_with_what_works_beside_it(settings: Settings) -> None:
    """Then whoever started the process starts another, which has all of it again."""
    with pytest.raises(RuntimeError, match="webhooks has ended"):
        Scheduler(settings, "test", beside=[Gone()]).run()
    assert "exporter" not in [thread.name for thread in threading.enumerate()]
    assert "test (" not in " ".join(health.ailments("scheduler"))
