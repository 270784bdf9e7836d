"""The object store against a real S3 server."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256

import httpx
import pytest

from shared.errors import NotFound, Unavailable
from shared.objects import ObjectStore, key_of
from shared.settings import Settings

DATA = b"the bytes of a picture"
SHA = sha256(DATA).hexdigest()


@pytest.fixture
def store(object_settings: dict[str, str]) -> ObjectStore:
    store = ObjectStore(Settings(**object_settings))
    store.ensure_bucket()
    return store


@pytest.fixture
def away(object_settings: dict[str, str]) -> ObjectStore:
    return ObjectStore(Settings(**{**object_settings, "s3_endpoint": "127.0.0.1:1"}))


def test_an_object_comes_back_as_it_was_put(store: ObjectStore) -> None:
    key = store.put(SHA, DATA, "image/png")
    assert key == key_of(SHA) == f"images/{SHA[:2]}/{SHA}"
    assert store.get(key) == DATA
    found = store.stat(key)
    assert (found.key, found.media_type, found.bytes) == (key, "image/png", len(DATA))
    assert store.exists(key)
    assert list(store.keys()) == [key]


def test_the_first_put_of_a_key_is_the_one_that_stays(store: ObjectStore) -> None:
    store.put(SHA, DATA, "image/png")
    assert store.put(SHA, b"something else", "image/jpeg") == key_of(SHA)
    assert store.get(key_of(SHA)) == DATA
    assert store.stat(key_of(SHA)).media_type == "image/png"


def test_an_object_of_many_megabytes_is_also_written_once(store: ObjectStore) -> None:
    large = bytes(12_000_000)
    store.put(SHA, large, "image/png")
    store.put(SHA, DATA, "image/png")
    assert store.stat(key_of(SHA)).bytes == len(large)


def test_the_same_bytes_may_be_put_by_many_at_once(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: store.put(SHA, DATA, "image/png"), range(16)))
    assert keys == {key_of(SHA)}
    assert store.get(key_of(SHA)) == DATA


def test_a_presigned_url_reads_the_object_without_credentials(store: ObjectStore) -> None:
    key = store.put(SHA, DATA, "image/png")
    answer = httpx.get(store.presign_get(key, timedelta(minutes=1)), trust_env=False)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, DATA, "image/png")
    assert httpx.get(store.presign_get(key, timedelta(minutes=1)).split("?")[0], trust_env=False).status_code == 403


def test_what_is_not_there_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound):
        store.get(key_of(SHA))
    with pytest.raises(NotFound):
        store.stat(key_of(SHA))
    assert not store.exists(key_of(SHA))


def test_delete_may_be_repeated(store: ObjectStore) -> None:
    key = store.put(SHA, DATA, "image/png")
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
        ObjectStore(Settings(**object_settings)).put(SHA, DATA, "image/png")


def test_a_server_that_is_away_is_unavailable(away: ObjectStore) -> None:
    with pytest.raises(Unavailable):
        away.put(SHA, DATA, "image/png")
    with pytest.raises(Unavailable):
        away.get(key_of(SHA))
    with pytest.raises(Unavailable):
        away.ready()
