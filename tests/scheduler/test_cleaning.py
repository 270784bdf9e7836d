"""What the scheduler removes besides: it does so in rounds, and whatever befalls one leaves the next unharmed."""

import threading
import time
from collections.abc import Callable

from services.scheduler.cleaning import CHUNK, Cleaner
from services.scheduler.loop import Scheduler
from shared import jobs
from shared.objects import key_of, upload_key_of
from shared.settings import Settings
from shared.states import State
from shared.tables import LOCAL_OWNER
from tests.storehouse import Storehouse, id_of, png

SECONDS = 300  # how long a test waits for what must happen


def clean(settings: Settings) -> None:
    cleaner = Cleaner(settings)
    cleaner.round()
    cleaner.close()


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_round_removes_what_is_old_deleted_or_was_not_used(storehouse: Storehouse) -> None:
    old = storehouse.store(png(0), days_ago=2)
    deleted, kept = storehouse.store(png(1)), storehouse.store(png(2))
    storehouse.withdraw(deleted)
    storehouse.upload(png(3))
    storehouse.change("UPDATE uploads SET expires_at = now()")
    expected = storehouse.upload(png(4))
    clean(storehouse.settings.model_copy(update={"image_retention_days": 1.0}))
    assert set(storehouse.objects.keys()) == {key_of(kept), expected.key}
    assert storehouse.count("uploads") == 1
    assert storehouse.find(old) is None


def test_images_are_kept_for_ever_unless_the_setting_says_otherwise(storehouse: Storehouse) -> None:
    image_id = storehouse.store(png(), days_ago=10_000)
    clean(storehouse.settings)
    assert storehouse.find(image_id) is not None


def test_what_a_url_puts_after_the_first_use_goes_with_the_declaration(storehouse: Storehouse) -> None:
    source = storehouse.upload(png())
    storehouse.take_in(source)
    storehouse.objects.put(source.key, png(), "image/png")
    storehouse.change("UPDATE uploads SET expires_at = now()")
    clean(storehouse.settings)
    assert list(storehouse.objects.keys()) == [key_of(id_of(png()))]
    assert storehouse.count("uploads") == 0


def test_a_round_goes_on_chunk_after_chunk(storehouse: Storehouse) -> None:
    storehouse.change(
        "INSERT INTO uploads (owner_id, sha256, bytes, media_type, object_key, expires_at, urls_until)"
        " SELECT :owner, lpad(to_hex(n), 64, '0'), 1, 'image/png', 'uploads/' || n, now(), now()"
        " FROM generate_series(1, :count) n",
        owner=LOCAL_OWNER,
        count=2 * CHUNK + 1,
    )
    clean(storehouse.settings)
    assert storehouse.count("uploads") == 0


def test_while_the_object_store_is_away_nothing_is_forgotten(storehouse: Storehouse) -> None:
    source = storehouse.upload(png())
    storehouse.change("UPDATE uploads SET expires_at = now()")
    clean(storehouse.settings.model_copy(update={"s3_endpoint": "127.0.0.1:1"}))
    assert storehouse.count("uploads") == 1
    clean(storehouse.settings)
    assert not storehouse.objects.exists(source.key)


def test_the_scheduler_cleans_as_it_sweeps(storehouse: Storehouse) -> None:
    storehouse.upload(png())
    storehouse.change("UPDATE uploads SET expires_at = now()")
    scheduler = Scheduler(storehouse.settings.model_copy(update={"sweep_seconds": 0.2}), "test")
    running = threading.Thread(target=scheduler.run)
    running.start()
    try:
        until(lambda: storehouse.count("uploads") == 0)
        # And again: a round is not the last one.
        storehouse.upload(png(1))
        storehouse.change("UPDATE uploads SET expires_at = now()")
        until(lambda: storehouse.count("uploads") == 0)
    finally:
        scheduler.stop()
        running.join()
    assert not storehouse.objects.exists(upload_key_of(id_of(png(1)), LOCAL_OWNER))


def test_an_image_is_kept_for_a_job_that_names_it_by_its_upload(storehouse: Storehouse) -> None:
    """As a batch's second job on it does, before its turn has come; a deletion cancels that job."""
    image_id = storehouse.store(png(), days_ago=2)
    job_id = storehouse.submit(image_id)
    by_upload = "UPDATE jobs SET image_id = NULL, source = :source"
    storehouse.change(by_upload, source=upload_key_of(image_id, LOCAL_OWNER))
    settings = storehouse.settings.model_copy(update={"image_retention_days": 1.0})
    clean(settings)
    assert storehouse.find(image_id) is not None
    storehouse.withdraw(image_id)
    with storehouse.engine.connect() as connection:
        job = jobs.get(connection, job_id)
    assert job is not None
    assert job.state is State.CANCELED
