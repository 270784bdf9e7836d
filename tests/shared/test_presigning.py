"""Presigned requests against the example that AWS publishes; a server judges them in test_objects.py."""

from datetime import UTC, datetime, timedelta

from shared.presigning import Credentials, presign

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
NOW = datetime(2013, 5, 24, tzinfo=UTC)


def test_the_published_example_is_signed_as_published() -> None:
    request = presign(
        "GET", "https://examplebucket.s3.amazonaws.com/test.txt", {}, EXAMPLE, NOW, timedelta(seconds=86400)
    )
    assert request.url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    assert (request.method, request.headers) == ("GET", {})


def test_it_expires_when_the_server_says_so() -> None:
    now = NOW + timedelta(microseconds=999_999)  # the signature counts whole seconds
    request = presign("PUT", "http://host:1/bucket/key", {"Content-Type": "a/b"}, EXAMPLE, now, timedelta(minutes=1))
    assert request.expires_at == NOW + timedelta(minutes=1)
    assert "X-Amz-SignedHeaders=content-type%3Bhost&" in request.url
    assert request.headers == {"Content-Type": "a/b"}


def test_a_secret_is_not_shown() -> None:
    assert EXAMPLE.secret_key not in repr(EXAMPLE)
