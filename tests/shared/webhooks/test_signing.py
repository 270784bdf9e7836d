"""Signatures, as the specification's own library reads them."""

import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.webhooks import signing

BODY = b'{"type":"job.succeeded","text":"\xc3\xa9"}'


def test_the_specifications_library_accepts_what_is_signed() -> None:
    secret = signing.new_secret()
    headers = signing.headers("0198c0de", int(time.time()), BODY, [secret])
    assert Webhook(secret).verify(BODY, headers)["type"] == "job.succeeded"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(BODY, headers)


def test_each_of_several_secrets_signs() -> None:
    old, new = signing.new_secret(), signing.new_secret()
    headers = signing.headers("0198c0de", int(time.time()), BODY, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(BODY, headers)


def test_the_signature_is_the_one_of_the_specifications_example() -> None:
    headers = signing.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
