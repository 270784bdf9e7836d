"""The policy of the service's user. The calls that make the user are MinIO's, which no server of the tests has."""

import pytest

from shared.bucket_user import ensure_user, policy
from shared.errors import Unavailable
from shared.settings import Settings


def test_the_user_may_do_all_with_the_service_s_bucket_and_nothing_else():
    (statement,) = policy(Settings(s3_bucket="own"))["Statement"]
    assert statement == {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::own", "arn:aws:s3:::own/*"]}


def test_buckets_that_batches_may_name_are_read_and_no_more():
    _, others = policy(Settings(import_buckets=("photos", "archive")))["Statement"]
    assert set(others["Action"]) == {"s3:GetObject", "s3:ListBucket"}
    assert {resource.removeprefix("arn:aws:s3:::") for resource in others["Resource"]} == {
        "photos",
        "photos/*",
        "archive",
        "archive/*",
    }


def test_a_server_without_such_calls_is_told_of(object_settings):
    settings = Settings(**object_settings)
    with pytest.raises(Unavailable, match=f"makes no user {settings.s3_access_key}: "):
        ensure_user(settings, settings.s3_access_key, settings.s3_secret_key.get_secret_value())
