"""How old images go, and the bytes of deleted ones."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from shared import jobs, stored_images
from shared.errors import NotFound, Unavailable
from shared.jobs import NewJob
from shared.objects import ObjectStore, key_of
from shared.tasks import Ask, Task
from tests.storehouse import Storehouse, png

MONTH = timedelta(days=30)


def delete_old(storehouse: Storehouse, most: int = 10) -> int:
    return storehouse.run(lambda conn: stored_images.delete_old(conn, MONTH, most))


def erase(storehouse: Storehouse, most: int = 10) -> int:
    return storehouse.run(lambda conn: stored_images.erase_deleted(conn, storehouse.objects, most))


def test_old_images_go_and_their_results_stay(storehouse: Storehouse) -> None:
    old, young = storehouse.store(png(0), days_ago=31), storehouse.store(png(1), days_ago=29)
    job_id = storehouse.submit(old)
    storehouse.run(lambda conn: jobs.cancel(conn, job_id))
    assert (delete_old(storehouse), delete_old(storehouse)) == (1, 0)
    assert storehouse.find(old) is None
    assert storehouse.find(young) is not None
    assert (erase(storehouse), erase(storehouse)) == (1, 0)
    assert list(storehouse.objects.keys()) == [key_of(young)]
    view = storehouse.run(lambda conn: jobs.get(conn, job_id))
    assert view is not None
    assert view.image.deleted


def test_an_image_stays_for_as_long_as_an_unfinished_job_needs_it(storehouse: Storehouse) -> None:
    image_id = storehouse.store(png(), days_ago=31)
    job_id = storehouse.submit(image_id)
    assert delete_old(storehouse) == 0
    storehouse.run(lambda conn: jobs.cancel(conn, job_id))
    assert delete_old(storehouse) == 1


def test_a_job_that_is_just_being_queued_keeps_its_image(storehouse: Storehouse) -> None:
    image_id = storehouse.store(png(), days_ago=31)
    with storehouse.engine.begin() as conn:
        jobs.create(conn, NewJob(image_id, Ask(Task.GCG)))
        assert delete_old(storehouse) == 0
    assert storehouse.find(image_id) is not None


def test_a_job_that_comes_while_its_image_goes_is_refused(storehouse: Storehouse) -> None:
    image_id = storehouse.store(png(), days_ago=31)
    with ThreadPoolExecutor(1) as pool:
        with storehouse.engine.begin() as conn:
            assert stored_images.delete_old(conn, MONTH, 10) == 1
            coming = pool.submit(storehouse.submit, image_id)
            storehouse.await_lock(coming)
        with pytest.raises(NotFound):
            coming.result()


def test_an_image_that_was_sent_again_is_as_young_as_its_return(storehouse: Storehouse) -> None:
    image_id = storehouse.store(png(), days_ago=31)
    assert delete_old(storehouse) == 1
    storehouse.take_in(storehouse.upload(png()))
    assert delete_old(storehouse) == 0
    assert erase(storehouse) == 0
    assert storehouse.objects.get(key_of(image_id)) == png()


def test_so_many_go_at_a_time_the_oldest_first(storehouse: Storehouse) -> None:
    storehouse.store(png(1), days_ago=31)
    oldest = storehouse.store(png(0), days_ago=40)
    storehouse.store(png(2), days_ago=35)
    assert delete_old(storehouse, 1) == 1
    assert storehouse.find(oldest) is None
    assert delete_old(storehouse, 10) == 2
    assert [erase(storehouse, 2), erase(storehouse, 2)] == [2, 1]
    assert list(storehouse.objects.keys()) == []


def test_bytes_that_could_not_be_erased_are_erased_later(storehouse: Storehouse) -> None:
    image_id = storehouse.store(png())
    storehouse.withdraw(image_id)
    away = ObjectStore(storehouse.settings.model_copy(update={"s3_endpoint": "127.0.0.1:1"}))
    with pytest.raises(Unavailable):
        storehouse.run(lambda conn: stored_images.erase_deleted(conn, away, 10))
    assert storehouse.objects.exists(key_of(image_id))
    assert erase(storehouse) == 1
    assert not storehouse.objects.exists(key_of(image_id))
