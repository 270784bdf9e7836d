"""The features store against a real server: parts of an image, kept for a while and lost without harm."""

from datetime import timedelta

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Unavailable
from shared.features import GLOBAL, SAM, FeatureStore, region_part

IMAGE = "a" * 64
HOUR = timedelta(hours=1)
boxes = st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 4), max_size=4)


def test_parts_come_back_as_they_were(features_url: str) -> None:
    store = FeatureStore(features_url, "model", HOUR)
    store.put(IMAGE, {GLOBAL: b"\0\1", SAM: b""})
    assert store.get(IMAGE, [SAM, GLOBAL, "region:x"]) == {GLOBAL: b"\0\1", SAM: b""}
    assert store.touch(IMAGE, [GLOBAL, SAM]) == {GLOBAL, SAM}
    assert store.touch(IMAGE, [GLOBAL, "region:x"]) == {GLOBAL}


def test_models_and_images_share_nothing(features_url: str) -> None:
    FeatureStore(features_url, "model", HOUR).put(IMAGE, {GLOBAL: b"1"})
    assert FeatureStore(features_url, "other model", HOUR).get(IMAGE, [GLOBAL]) == {}
    assert FeatureStore(features_url, "model", HOUR).get("b" * 64, [GLOBAL]) == {}


@pytest.mark.parametrize("reading", ["get", "touch"])
def test_a_part_in_use_lives_on(features_url: str, reading: str) -> None:
    store = FeatureStore(features_url, "model", HOUR)
    store.put(IMAGE, {GLOBAL: b"1"})
    with redis.Redis.from_url(features_url) as client:
        key = store.key(IMAGE, GLOBAL)
        client.expire(key, 5)
        getattr(store, reading)(IMAGE, [GLOBAL])
        assert client.ttl(key) > 3000


def test_nothing_is_kept_for_ever(features_url: str) -> None:
    store = FeatureStore(features_url, "model", HOUR)
    store.put(IMAGE, {GLOBAL: b"1", SAM: b"2"})
    with redis.Redis.from_url(features_url) as client:
        assert all(client.ttl(key) > 0 for key in client.keys("*"))


def test_a_server_that_is_away_is_named() -> None:
    store = FeatureStore("redis://127.0.0.1:1/0", "model", HOUR)
    for use in (lambda: store.get(IMAGE, [GLOBAL]), lambda: store.touch(IMAGE, [GLOBAL])):
        with pytest.raises(Unavailable, match="features"):
            use()
    with pytest.raises(Unavailable, match="features"):
        store.put(IMAGE, {GLOBAL: b"1"})


@given(boxes, boxes)
def test_a_region_part_belongs_to_its_boxes_alone(one: list[tuple[float, ...]], other: list[tuple[float, ...]]) -> None:
    # Zeros of either sign are one box to the model but may be two parts: that costs an encoding and no more.
    assert (region_part(one) == region_part(other)) <= (one == other)
    assert region_part(one) == region_part([tuple(box) for box in one])
