"""The object store against a real S3 server."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

import httpx
import pytest

from shared.errors import NotFound, Unavailable
from shared.objects import ObjectStore, key_of
from shared.settings import Settings

DATA = b"the bytes of a picture"
SHA = sha256(DATA).hexdigest()
KEY = key_of(SHA)


@pytest.fixture
def store(object_settings: dict[str, str]) -> ObjectStore:
    store = ObjectStore(Settings(**object_settings))
    store.ensure_bucket()
    return store


@pytest.fixture
def away(object_settings: dict[str, str]) -> ObjectStore:
    return ObjectStore(Settings(**{**object_settings, "s3_endpoint": "127.0.0.1:1"}))


def test_an_object_comes_back_as_it_was_put(store: ObjectStore) -> None:
    store.put(KEY, DATA, "image/png")
    assert store.get(KEY) == DATA
    found = store.stat(KEY)
    assert (found.key, found.media_type, found.bytes) == (KEY, "image/png", len(DATA))
    assert store.exists(KEY)
    assert list(store.keys()) == [KEY]


def test_each_owner_has_keys_of_its_own() -> None:
    other = UUID("00000000-0000-7000-8000-000000000001")
    assert key_of(SHA, other) == f"images/{other}/{SHA[:2]}/{SHA}"
    assert key_of(SHA, other) != KEY


def test_the_first_put_of_a_key_is_the_one_that_stays(store: ObjectStore) -> None:
    store.put(KEY, DATA, "image/png")
    store.put(KEY, b"something else", "image/jpeg")
    assert store.get(KEY) == DATA
    assert store.stat(KEY).media_type == "image/png"


def test_an_object_of_many_megabytes_is_also_written_once(store: ObjectStore) -> None:
    large = bytes(12_000_000)
    store.put(KEY, large, "image/png")
    store.put(KEY, DATA, "image/png")
    assert store.stat(KEY).bytes == len(large)


def test_the_same_bytes_may_be_put_by_many_at_once(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.put(KEY, DATA, "image/png"), range(16)))
    assert list(store.keys()) == [KEY]
    assert store.get(KEY) == DATA


def test_a_presigned_url_reads_the_object_without_credentials(store: ObjectStore) -> None:
    key = KEY
    store.put(key, DATA, "image/png")
    answer = httpx.get(store.presign_get(key, timedelta(minutes=1)), trust_env=False)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, DATA, "image/png")
    assert httpx.get(store.presign_get(key, timedelta(minutes=1)).split("?")[0], trust_env=False).status_code == 403


def test_what_is_not_there_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound):
        store.get(KEY)
    with pytest.raises(NotFound):
        store.stat(KEY)
    assert not store.exists(KEY)


def test_delete_may_be_repeated(store: ObjectStore) -> None:
    key = KEY
    store.put(key, DATA, "image/png")
    store.delete(key)
    store.delete(key)
    assert not store.exists(key)


def test_the_bucket_may_be_made_by_many_at_once(object_settings: dict[str, str]) -> None:
    store = ObjectStore(Settings(**object_settings))
    assert not store.ready()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.ensure_bucket(), range(8)))
    assert store.ready()


def test_a_missing_bucket_is_our_fault_not_the_callers(object_settings: dict[str, str]) -> None:
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        ObjectStore(Settings(**object_settings)).put(KEY, DATA, "image/png")


def test_a_server_that_is_away_is_unavailable(away: ObjectStore) -> None:
    with pytest.raises(Unavailable):
        away.put(KEY, DATA, "image/png")
    with pytest.raises(Unavailable):
        away.get(KEY)
    with pytest.raises(Unavailable):
        away.ready()
