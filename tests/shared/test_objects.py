"""The object store against a real S3 server."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from uuid import UUID

import httpx
import pytest

from shared.errors import NotFound, Unavailable
from shared.objects import ObjectStore, key_of
from shared.presigning import Credentials, SignedRequest, presign
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


def put(request: SignedRequest, data: bytes, **headers: str) -> int:
    """As a client without credentials does; the status."""
    sent = {**request.headers, **headers}
    del sent["Content-Length"]  # the HTTP client counts for itself
    return httpx.request(request.method, request.url, content=data, headers=sent, trust_env=False).status_code


def test_a_presigned_put_takes_what_was_agreed_on_and_nothing_else(store: ObjectStore) -> None:
    request = store.presign_put(KEY, len(DATA), "image/png", timedelta(minutes=1))
    assert put(request, DATA + b"!") == 403
    assert put(request, DATA[1:]) == 403
    assert put(request, DATA, **{"Content-Type": "text/html"}) == 403
    assert not store.exists(KEY)
    assert put(request, DATA) == 200
    assert (store.get(KEY), store.stat(KEY).media_type) == (DATA, "image/png")
    # It may be repeated, as after a connection that was lost.
    assert put(request, DATA[::-1]) == 200
    assert store.get(KEY) == DATA[::-1]


def test_a_presigned_put_is_for_its_key_and_its_time(store: ObjectStore, object_settings: dict[str, str]) -> None:
    request = store.presign_put(KEY, len(DATA), "image/png", timedelta(minutes=1))
    assert put(replace(request, url=request.url.replace(SHA, "0" * 64)), DATA) == 403
    credentials = Credentials(object_settings["s3_access_key"], object_settings["s3_secret_key"], "us-east-1")
    url, headers = request.url.split("?")[0], request.headers
    minute, now = timedelta(minutes=1), datetime.now(UTC)
    assert put(presign("PUT", url, headers, credentials, now - 2 * minute, minute), DATA) == 403
    assert list(store.keys()) == []
    assert put(presign("PUT", url, headers, credentials, now - minute / 2, minute), DATA) == 200


def test_presigned_urls_lead_where_clients_reach_the_store(object_settings: dict[str, str]) -> None:
    store = ObjectStore(Settings(**object_settings, s3_public_endpoint="objects.example:443", s3_public_secure="true"))
    bucket = object_settings["s3_bucket"]
    for url in (store.presign_get(KEY, timedelta(1)), store.presign_put(KEY, 1, "image/png", timedelta(1)).url):
        assert url.startswith(f"https://objects.example/{bucket}/{KEY}?X-Amz-")


def test_an_object_is_read_no_further_than_it_may_be_long(store: ObjectStore) -> None:
    store.put(KEY, DATA, "image/png")
    assert store.read(KEY, len(DATA)) == (store.stat(KEY), DATA)
    assert store.read(KEY, len(DATA) - 1) == (store.stat(KEY), None)
    store.put("empty", b"", "image/png")
    assert store.read("empty", 10)[1] == b""
    with pytest.raises(NotFound):
        store.read("nothing", 10)


@pytest.mark.parametrize("data", [DATA, bytes(12_000_000)], ids=["small", "large"])
def test_a_copy_is_of_one_version_or_none(store: ObjectStore, data: bytes) -> None:
    request = store.presign_put("uploads/a", len(data), "text/plain", timedelta(minutes=1))
    assert put(request, data) == 200
    seen = store.stat("uploads/a")
    assert store.copy(seen, KEY, "image/png")
    assert (store.get(KEY), store.stat(KEY).media_type) == (data, "image/png")
    assert store.copy(seen, KEY, "image/png")

    assert put(request, data[:-1] + b"!") == 200
    assert not store.copy(seen, "images/b", "image/png")
    store.delete("uploads/a")
    assert not store.copy(seen, "images/b", "image/png")
    assert list(store.keys()) == [KEY]


def test_many_are_deleted_at_once_and_those_that_are_gone_do_not_matter(store: ObjectStore) -> None:
    keys = [f"a/{n}" for n in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b"x", "image/png"), keys[::100]))
    store.put("b", b"x", "image/png")
    store.delete_all(keys)
    assert list(store.keys()) == ["b"]
    store.delete_all([])


def test_a_presigned_download_has_the_name_that_was_asked_for(store: ObjectStore) -> None:
    store.put(KEY, DATA, "application/zip")
    answer = httpx.get(store.presign_get(KEY, timedelta(minutes=1), "set-coco.zip"), trust_env=False)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-disposition"] == 'attachment; filename="set-coco.zip"'


def test_a_file_of_several_parts_is_stored_whole_and_may_be_replaced(store: ObjectStore) -> None:
    large = bytes(range(256)) * 50_000
    store.put_stream(KEY, BytesIO(large), len(large), "application/zip")
    assert store.get(KEY) == large
    store.put_stream(KEY, BytesIO(DATA), len(DATA), "application/zip")
    assert store.get(KEY) == DATA
    assert store.stat(KEY).media_type == "application/zip"


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
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        list(ObjectStore(Settings(**object_settings)).keys())


def test_a_missing_bucket_of_others_is_not_found(object_settings: dict[str, str]) -> None:
    with pytest.raises(NotFound, match="no-such-bucket: NoSuchBucket"):
        list(ObjectStore(Settings(**object_settings)).of("no-such-bucket").keys())


def test_a_server_that_is_away_is_unavailable(away: ObjectStore) -> None:
    with pytest.raises(Unavailable):
        away.put(KEY, DATA, "image/png")
    with pytest.raises(Unavailable):
        away.get(KEY)
    with pytest.raises(Unavailable):
        away.read(KEY, 10)
    with pytest.raises(Unavailable):
        away.delete_all([KEY])
    with pytest.raises(Unavailable):
        away.ready()
