"""From bytes that nobody has checked to a stored image, whoever else does what meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from shared import intake, stored_images, uploads
from shared.errors import Conflict, InvalidInput, LimitReached, NotFound, TooLarge, UnsupportedMedia
from shared.intake import Source
from shared.objects import ObjectStore, key_of
from shared.tables import LOCAL_OWNER
from tests.storehouse import LIMITS, Storehouse, id_of, png


def test_an_upload_becomes_an_image_and_leaves_nothing_behind(storehouse: Storehouse) -> None:
    data = png()
    row = storehouse.take_in(storehouse.upload(data))
    assert (row.id, row.width, row.height, row.media_type, row.bytes) == (id_of(data), 48, 32, "image/png", len(data))
    assert storehouse.find(row.id) == row
    assert list(storehouse.objects.keys()) == [row.object_key] == [key_of(row.id)]
    assert storehouse.objects.get(row.object_key) == data


def test_an_object_of_nobodys_declaration_is_taken_in_and_stays(storehouse: Storehouse) -> None:
    data = png()
    storehouse.objects.put("folder/cat.png", data, "application/octet-stream")
    row = storehouse.take_in(Source(storehouse.objects, "folder/cat.png", "key"))
    assert storehouse.objects.stat(row.object_key).media_type == "image/png"
    assert set(storehouse.objects.keys()) == {"folder/cat.png", key_of(id_of(data))}


def test_an_object_may_come_from_another_bucket(storehouse: Storehouse) -> None:
    data = png()
    elsewhere = f"{storehouse.settings.s3_bucket}-2"
    other = ObjectStore(storehouse.settings.model_copy(update={"s3_bucket": elsewhere}))
    other.ensure_bucket()
    other.put("cat.png", data, "image/png")
    row = storehouse.take_in(Source(other, "cat.png", "key"))
    assert storehouse.objects.get(row.object_key) == data
    assert list(other.keys()) == ["cat.png"]


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"bytes": 7}, r"bytes, not 7"),
        ({"bytes": 7_000}, r"bytes, not 7,000"),
        ({"sha256": "0" * 64}, r"its sha256 is [0-9a-f]{64}, not 0{64}"),
        ({"media_type": "image/webp"}, "its type is image/png, not image/webp"),
    ],
)
def test_what_is_not_as_declared_is_refused_by_what_differs(
    storehouse: Storehouse, declared: dict[str, Any], says: str
) -> None:
    source = storehouse.upload(png(), **declared)
    with pytest.raises(InvalidInput, match=says) as raised:
        storehouse.take_in(source)
    assert (raised.value.field, raised.value.status) == ("image_id", 422)
    assert storehouse.count("images") == 0
    # It may be put right: the object is not taken away under the client's hands.
    assert list(storehouse.objects.keys()) == [source.key]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", InvalidInput),
        (b"#!/bin/sh", UnsupportedMedia),
        (png()[:-500], InvalidInput),
        (bytes(LIMITS.max_bytes + 1), TooLarge),
    ],
)
def test_what_is_no_image_is_refused_as_by_any_other_way(
    storehouse: Storehouse, data: bytes, error: type[InvalidInput]
) -> None:
    storehouse.objects.put("folder/x", data, "image/png")
    with pytest.raises(InvalidInput) as raised:
        storehouse.take_in(Source(storehouse.objects, "folder/x", "key"))
    assert type(raised.value) is error
    assert raised.value.field == "key"
    assert storehouse.count("images") == 0
    assert list(storehouse.objects.keys()) == ["folder/x"]


def test_what_never_arrived_is_not_found(storehouse: Storehouse) -> None:
    source = storehouse.upload(png())
    storehouse.objects.delete(source.key)
    with pytest.raises(NotFound):
        storehouse.take_in(source)
    with pytest.raises(NotFound, match="has not arrived"):
        storehouse.first_use(id_of(png()))


def test_the_first_use_takes_in_and_later_ones_find(storehouse: Storehouse) -> None:
    assert storehouse.first_use(id_of(png())) is None
    storehouse.upload(png())
    first = storehouse.first_use(id_of(png()))
    assert first is not None
    assert storehouse.first_use(first.id) == first == storehouse.find(first.id)


def test_an_upload_that_comes_once_more_is_not_needed_any_more(storehouse: Storehouse) -> None:
    row = storehouse.take_in(storehouse.upload(png()))
    again = storehouse.upload(png())
    assert storehouse.take_in(again) == row
    assert list(storehouse.objects.keys()) == [row.object_key]


def test_many_may_use_an_upload_at_once(storehouse: Storehouse) -> None:
    for seed in range(5):
        storehouse.upload(png(seed))
        with ThreadPoolExecutor(4) as pool:
            rows = list(pool.map(storehouse.first_use, [id_of(png(seed))] * 4))
        assert rows[0] is not None
        assert set(rows) == {rows[0]}
    assert storehouse.count("images") == len(list(storehouse.objects.keys())) == 5


def test_one_that_read_an_upload_which_another_took_in_meanwhile_finds_the_image(storehouse: Storehouse) -> None:
    source = storehouse.upload(png())
    late = intake.fetch(source, LIMITS)
    row = storehouse.take_in(source)
    assert storehouse.run(lambda conn: intake.record(conn, storehouse.objects, LOCAL_OWNER, late)) == row


def test_bytes_that_change_between_the_check_and_the_copy_are_not_stored(storehouse: Storehouse) -> None:
    data = png()
    source = storehouse.upload(data)
    arrival = intake.fetch(source, LIMITS)
    storehouse.objects.delete(source.key)
    storehouse.objects.put(source.key, data[:-1] + b"!", "image/png")
    with pytest.raises(Conflict) as raised:
        storehouse.run(lambda conn: intake.record(conn, storehouse.objects, LOCAL_OWNER, arrival))
    assert raised.value.field == "image_id"
    assert storehouse.count("images") == 0
    assert list(storehouse.objects.keys()) == [source.key]


def test_an_upload_that_is_deleted_while_it_is_read_is_not_stored(storehouse: Storehouse) -> None:
    """Nor is it when bytes of an image that was deleted before still lie at its key."""
    image_id = storehouse.store(png())
    storehouse.withdraw(image_id)
    source = storehouse.upload(png())
    arrival = intake.fetch(source, LIMITS)
    storehouse.objects.delete(source.key)
    with pytest.raises(Conflict):
        storehouse.run(lambda conn: intake.record(conn, storehouse.objects, LOCAL_OWNER, arrival))
    assert storehouse.find(image_id) is None


def test_a_deleted_image_comes_back_with_an_upload(storehouse: Storehouse) -> None:
    image_id = storehouse.store(png())
    storehouse.withdraw(image_id)
    storehouse.run(lambda conn: stored_images.erase_deleted(conn, storehouse.objects, 10))
    assert list(storehouse.objects.keys()) == []
    storehouse.upload(png())
    assert storehouse.first_use(image_id) is not None
    assert storehouse.objects.get(key_of(image_id)) == png()


def test_bytes_that_were_lost_come_back_with_an_upload(storehouse: Storehouse) -> None:
    image_id = storehouse.store(png())
    storehouse.objects.delete(key_of(image_id))
    storehouse.take_in(storehouse.upload(png()))
    assert storehouse.objects.get(key_of(image_id)) == png()


def test_an_intake_waits_while_bytes_are_erased_and_then_brings_its_own(storehouse: Storehouse) -> None:
    image_id = storehouse.store(png())
    storehouse.withdraw(image_id)
    source = storehouse.upload(png())
    with ThreadPoolExecutor(1) as pool:
        with storehouse.engine.begin() as conn:
            assert stored_images.erase_deleted(conn, storehouse.objects, 10) == 1
            coming = pool.submit(storehouse.take_in, source)
            storehouse.await_lock(coming)
        assert coming.result().id == image_id
    assert storehouse.objects.get(key_of(image_id)) == png()


def test_an_intake_during_a_sweep_leaves_all_or_nothing(storehouse: Storehouse) -> None:
    source = storehouse.upload(png())
    storehouse.change("UPDATE uploads SET expires_at = now()")
    with ThreadPoolExecutor(1) as pool:
        with storehouse.engine.begin() as conn:
            arrival = intake.fetch(source, LIMITS)
            assert uploads.sweep(conn, storehouse.objects, 10) == 1
            coming = pool.submit(
                storehouse.run, lambda other: intake.record(other, storehouse.objects, LOCAL_OWNER, arrival)
            )
            storehouse.await_lock(coming)
        with pytest.raises(Conflict):
            coming.result()
    assert storehouse.count("images") == storehouse.count("uploads") == len(list(storehouse.objects.keys())) == 0


def test_the_declaration_limits_what_is_read(storehouse: Storehouse) -> None:
    """A few bytes were declared and much more came, by a way that does not count them."""
    source = storehouse.upload(bytes(5_000_000), bytes=10)
    declared = source.declared
    assert declared is not None
    assert storehouse.objects.read(source.key, declared.bytes)[1] is None
    with pytest.raises(InvalidInput, match="it has 5,000,000 bytes, not 10"):
        storehouse.take_in(source)
    with pytest.raises(TooLarge):
        storehouse.take_in(replace(source, declared=None))


def test_what_nobody_declared_counts_before_it_is_taken_in(storehouse: Storehouse) -> None:
    first, second = png(1), png(2)
    for number, data in enumerate((first, second)):
        storehouse.objects.put(f"folder/{number}.png", data, "image/png")
    sources = [Source(storehouse.objects, f"folder/{n}.png", "key", most_stored=len(first) + 10) for n in range(2)]
    assert storehouse.take_in(sources[0]).id == id_of(first)
    with pytest.raises(LimitReached):
        storehouse.take_in(sources[1])
    assert storehouse.find(id_of(second)) is None
    assert key_of(id_of(second)) not in set(storehouse.objects.keys())
    assert storehouse.take_in(sources[0]).id == id_of(first), "what is stored already takes no room"


def test_a_declaration_that_comes_again_takes_no_time_away(storehouse: Storehouse) -> None:
    data = png()
    storehouse.upload(data)
    storehouse.change("UPDATE uploads SET expires_at = now() + interval '7 days'")
    storehouse.upload(data)
    assert storehouse.run(
        lambda conn: conn.execute(text("SELECT expires_at > now() + interval '6 days' FROM uploads")).scalar_one()
    )


def test_an_object_that_is_not_given_out_is_the_jobs_fault_and_no_outage(storehouse: Storehouse) -> None:
    with pytest.raises(NotFound) as refused:
        storehouse.take_in(Source(storehouse.objects.of("there-is-no-such-bucket"), "a.png", "s3_uri"))
    assert "a.png" in refused.value.detail
    assert (refused.value.field, bool(refused.value.remedy)) == ("s3_uri", True)
