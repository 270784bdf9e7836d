"""The scheduler's process, and what works beside its loop."""

import threading

import pytest
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from services.scheduler.loop import Scheduler
from shared import health
from shared.batches import moves
from shared.jobs import schedule
from shared.settings import Settings
from tests.batches import Batches
from tests.scheduler.conftest import until


class Gone:
    name = "webhooks"
    alive = False


def test_a_scheduler_ends_with_what_works_beside_it(settings: Settings) -> None:
    """Then whoever started the process starts another, which has all of it again."""
    with pytest.raises(RuntimeError, match="webhooks has ended"):
        Scheduler(settings, "test", beside=[Gone()]).run()
    assert "exporter" not in [thread.name for thread in threading.enumerate()]
    assert "test (" not in " ".join(health.ailments("scheduler"))


@pytest.mark.usefixtures("objects")
def test_the_log_names_each_job_that_is_admitted_or_expires(
    settings: Settings, engine: Engine, batches: Batches
) -> None:
    batch_id = batches.add()
    admitted, late = batches.queue(batch_id), batches.queue(batch_id)
    with engine.begin() as conn:
        conn.execute(text("UPDATE jobs SET expires_at = now() WHERE id = :id"), {"id": late})
    scheduler = Scheduler(settings, "test")
    running = threading.Thread(target=scheduler.run)

    def told(event: str) -> list[tuple[str, str]]:
        return [(line["log_level"], line["job_id"]) for line in list(lines) if line["event"] == event]

    with capture_logs() as lines:
        running.start()
        try:
            until(lambda: bool(told("job.admitted")))
        finally:
            scheduler.stop()
            running.join()
    assert told("job.expired") == [("info", str(late))]
    assert told("job.admitted") == [("debug", str(admitted))]


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize("move", ["UPDATE batches SET state = 'canceled'", "UPDATE jobs SET expires_at = now()"])
def test_others_are_let_in_while_a_large_batch_is_canceled_or_expires(
    settings: Settings, engine: Engine, batches: Batches, monkeypatch: pytest.MonkeyPatch, move: str
) -> None:
    monkeypatch.setattr(moves, "_AT_ONCE", 1)
    monkeypatch.setattr(schedule, "_EXPIRY_BATCH", 1)
    large, other = batches.add(), batches.add()
    for _ in range(3):
        batches.queue(large)
    waiting = batches.queue(other)
    with engine.begin() as conn:
        which = "id" if "batches" in move else "batch_id"
        conn.execute(text(f"{move} WHERE {which} = :large"), {"large": large})
    scheduler = Scheduler(settings, "test")
    if "batches" in move:
        scheduler.work_off()
    else:
        scheduler.sweep()
    with engine.connect() as conn:
        admitted = conn.execute(text("SELECT admitted_at FROM jobs WHERE id = :id"), {"id": waiting}).scalar_one()
        last = conn.execute(
            text("SELECT max(finished_at) FROM jobs WHERE batch_id = :large"), {"large": large}
        ).scalar_one()
    assert admitted < last
