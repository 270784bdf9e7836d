"""Webhooks from a job's end to a receiver, on a real database and a real HTTP server."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import trustme
from sqlalchemy import Engine, insert, select, text
from standardwebhooks import Webhook

from services.scheduler.outgoing import KEPT_BYTES
from services.scheduler.webhooks import MOST_AT_AN_ENDPOINT, Deliverer
from shared import jobs
from shared.database import create_engine
from shared.ids import uuid7
from shared.settings import Settings
from shared.tables import LOCAL_OWNER, images, owners, webhook_endpoints
from shared.tasks import Ask, Task
from shared.webhooks import deliveries, endpoints, outbox
from shared.webhooks.deliveries import PAUSES, Delivery
from shared.webhooks.endpoints import Change, Endpoint
from shared.webhooks.events import DeliveryState, DisabledBecause, EventType
from tests.scheduler.conftest import SECONDS, Receiver, Request, until

IMAGE = "ab" * 32


class Place:
    """An owner with an image, and what a client and a worker do."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine, self.settings = engine, settings
        with engine.begin() as conn:
            conn.execute(
                insert(images).values(
                    id=IMAGE,
                    object_key=f"images/ab/{IMAGE}",
                    media_type="image/png",
                    width=40,
                    height=30,
                    bytes=99,
                    owner_id=LOCAL_OWNER,
                )
            )

    def register(self, url: str, events: Collection[EventType] = tuple(EventType)) -> tuple[Endpoint, str]:
        with self.engine.begin() as conn:
            return endpoints.create(conn, LOCAL_OWNER, url, events, "", most=20)

    def endpoint(self, endpoint: Endpoint) -> Endpoint:
        with self.engine.connect() as conn:
            found = endpoints.get(conn, endpoint.id, LOCAL_OWNER)
        assert found is not None
        return found

    def canceled_job(self) -> UUID:
        with self.engine.begin() as conn:
            job_id = jobs.create(conn, jobs.NewJob(IMAGE, Ask(Task.GCG)))
        with self.engine.begin() as conn:
            assert jobs.cancel(conn, job_id)
        return job_id

    def log(self, endpoint: Endpoint) -> list[Delivery]:
        with self.engine.connect() as conn:
            return list(deliveries.page(conn, endpoint.id, None, 1000))

    def wait(self, endpoint: Endpoint, met: Callable[[Delivery], bool]) -> list[Delivery]:
        """The log, once it is so for every delivery."""
        until(lambda: all(map(met, self.log(endpoint))))
        return self.log(endpoint)

    def let_time_pass(self) -> None:
        """Whatever is to be tried later is due now."""
        with self.engine.begin() as conn:
            conn.execute(text("UPDATE webhook_deliveries SET next_at = now() WHERE state = 'pending'"))
            conn.execute(text("UPDATE webhook_endpoints SET resume_at = now()"))


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    engine = create_engine(settings.database_url)
    yield Place(engine, settings.model_copy(update={"webhook_allow_private": True}))
    engine.dispose()


@pytest.fixture
def deliverer(place: Place) -> Iterator[None]:
    with Deliverer(place.settings):
        yield


def delivered(delivery: Delivery) -> bool:
    return delivery.state is DeliveryState.DELIVERED


def tried(times: int) -> Callable[[Delivery], bool]:
    return lambda delivery: len(delivery.attempts) == times


@pytest.mark.usefixtures("deliverer")
def test_a_job_that_ends_is_told_of_in_a_message_that_verifies(place: Place, receiver: Receiver) -> None:
    endpoint, secret = place.register(receiver.url)
    receiver.answer, receiver.said = lambda _: 200, b"thanks"
    job_id = place.canceled_job()
    (request,) = receiver.received(1)
    event = Webhook(secret).verify(request.body, request.headers)
    assert event["type"] == "job.canceled"
    assert event["timestamp"].endswith("Z")
    assert event["data"] == {
        "id": str(job_id),
        "state": "canceled",
        "batch_id": None,
        "custom_id": None,
        "error": None,
        "links": {"self": f"/jobs/{job_id}"},
    }
    assert request.headers["content-type"] == "application/json"
    (delivery,) = place.wait(endpoint, delivered)
    assert str(delivery.id) == request.headers["webhook-id"]
    assert delivery.payload == event
    (attempt,) = delivery.attempts
    assert (attempt.status, attempt.error, attempt.response) == (200, None, "thanks")


@pytest.mark.usefixtures("deliverer")
def test_a_receiver_that_fails_is_asked_again_and_gets_the_same_message(place: Place, receiver: Receiver) -> None:
    endpoint, secret = place.register(receiver.url)
    receiver.answer, receiver.said = lambda _: 500, b"no \x00 disk" + b"x" * 2000
    place.canceled_job()
    (delivery,) = place.wait(endpoint, tried(1))
    assert delivery.state is DeliveryState.PENDING
    assert delivery.next_at is not None
    assert PAUSES[0] <= delivery.next_at - delivery.created_at
    assert delivery.attempts[0].status == 500
    assert delivery.attempts[0].response.startswith("no \N{REPLACEMENT CHARACTER} disk")
    assert len(delivery.attempts[0].response) == KEPT_BYTES
    assert place.endpoint(endpoint).failing_since is not None

    receiver.answer = lambda _: 200
    place.let_time_pass()
    (delivery,) = place.wait(endpoint, delivered)
    assert [attempt.status for attempt in delivery.attempts] == [500, 200]
    assert place.endpoint(endpoint).failing_since is None
    first, second = receiver.requests
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert Webhook(secret).verify(second.body, second.headers)


@pytest.mark.usefixtures("deliverer")
def test_a_delivery_is_given_up_after_the_last_attempt(place: Place, receiver: Receiver) -> None:
    endpoint, _ = place.register(receiver.url)
    receiver.answer = lambda _: 503
    place.canceled_job()
    for times in range(1, len(PAUSES) + 2):
        place.wait(endpoint, tried(times))
        place.let_time_pass()
    (delivery,) = place.log(endpoint)
    assert (delivery.state, delivery.next_at) == (DeliveryState.FAILED, None)
    assert place.endpoint(endpoint).enabled
    assert sum(PAUSES, timedelta()) > timedelta(days=1)


@pytest.mark.usefixtures("deliverer")
def test_a_redirect_is_not_followed(place: Place, receiver: Receiver) -> None:
    endpoint, _ = place.register(receiver.url)
    receiver.answer, receiver.headers = lambda _: 307, {"Location": "/elsewhere"}
    place.canceled_job()
    (delivery,) = place.wait(endpoint, tried(1))
    assert delivery.attempts[0].status == 307
    assert [request.path for request in receiver.requests] == ["/hook"]


@pytest.mark.usefixtures("deliverer")
def test_a_receiver_that_is_gone_is_not_asked_again(place: Place, receiver: Receiver) -> None:
    endpoint, _ = place.register(receiver.url)
    receiver.answer = lambda _: 410
    place.canceled_job()
    (delivery,) = place.wait(endpoint, tried(1))
    assert delivery.state is DeliveryState.FAILED
    disabled = place.endpoint(endpoint)
    assert (disabled.enabled, disabled.disabled_because) == (False, DisabledBecause.GONE)
    place.canceled_job()
    assert len(place.log(endpoint)) == 1
    with place.engine.begin() as conn:
        enabled = endpoints.change(conn, endpoint.id, LOCAL_OWNER, Change(enabled=True))
    assert enabled is not None
    assert (enabled.enabled, enabled.disabled_because, enabled.failing_since) == (True, None, None)
    receiver.answer = lambda _: 200
    place.canceled_job()
    assert len(receiver.received(2)) == 2


@pytest.mark.usefixtures("deliverer")
def test_an_endpoint_that_fails_for_days_is_disabled(place: Place, receiver: Receiver) -> None:
    endpoint, _ = place.register(receiver.url)
    receiver.answer = lambda _: 500
    place.canceled_job()
    place.wait(endpoint, tried(1))
    with place.engine.begin() as conn:
        conn.execute(text("UPDATE webhook_endpoints SET failing_since = now() - interval '6 days'"))
    place.let_time_pass()
    place.wait(endpoint, tried(2))
    disabled = place.endpoint(endpoint)
    assert (disabled.enabled, disabled.disabled_because) == (False, DisabledBecause.FAILING)


@pytest.mark.usefixtures("deliverer")
def test_one_that_hangs_holds_up_nobody_else(place: Place, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    release, hanging = threading.Event(), Receiver()

    def hang(_: Request) -> int:
        release.wait()
        return 200

    hanging.answer = hang
    slow, _ = place.register(hanging.url)
    quick, _ = place.register(receiver.url)
    for _ in range(3 * MOST_AT_AN_ENDPOINT):
        place.canceled_job()
    place.wait(quick, delivered)
    assert len(receiver.requests) == 3 * MOST_AT_AN_ENDPOINT
    assert len(hanging.requests) == MOST_AT_AN_ENDPOINT
    release.set()
    place.wait(slow, delivered)
    hanging.close()


def test_a_receiver_that_takes_too_long_is_left(
    place: Place, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.scheduler.outgoing.SECONDS", 0.3)
    release = threading.Event()

    def hang(_: Request) -> int:
        release.wait()
        return 200

    endpoint, _ = place.register(receiver.url)
    receiver.answer = hang
    place.canceled_job()
    with Deliverer(place.settings):
        (delivery,) = place.wait(endpoint, tried(1))
    release.set()
    assert delivery.attempts[0].status is None
    assert delivery.attempts[0].error == "There was no answer within 0.3 s."


@pytest.mark.usefixtures("deliverer")
def test_a_receiver_that_is_not_there_is_an_attempt_that_failed(place: Place) -> None:
    gone = Receiver()
    gone.close()
    endpoint, _ = place.register(gone.url)
    place.canceled_job()
    (delivery,) = place.wait(endpoint, tried(1))
    assert delivery.attempts[0].status is None
    assert "ConnectError" in str(delivery.attempts[0].error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_an_address_that_is_not_public_is_refused_where_it_is_connected_to(
    place: Place, receiver: Receiver, host: str
) -> None:
    """However it got into the database: by a setting that has changed, or a name that meant something else then."""
    endpoint, _ = place.register(f"http://{host}:{receiver.port}/hook")
    place.canceled_job()
    with Deliverer(place.settings.model_copy(update={"webhook_allow_private": False})):
        (delivery,) = place.wait(endpoint, tried(1))
    assert delivery.attempts[0].status is None
    assert "not public" in str(delivery.attempts[0].error)
    assert receiver.requests == []


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A name service that changes its mind about receiver.example: this host once, then another. What it was asked."""
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **options: Any) -> Any:
        if host != "receiver.example":
            return resolve(host, port, *args, **options)
        asked.append(host)
        return resolve("127.0.0.1" if len(asked) == 1 else "192.0.2.1", port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_is_resolved_once_and_that_address_connected_to(
    place: Place, receiver: Receiver, names: list[str]
) -> None:
    """Whoever asked twice would judge one address and connect to another."""
    endpoint, _ = place.register(f"http://receiver.example:{receiver.port}/hook")
    place.canceled_job()
    with Deliverer(place.settings):
        place.wait(endpoint, delivered)
    (request,) = receiver.requests
    assert request.headers["host"] == f"receiver.example:{receiver.port}"
    assert len(names) == 1


@pytest.mark.parametrize(("certified", "trusted"), [("receiver.example", True), ("other.example", False)])
def test_a_certificate_is_judged_by_the_name_and_not_by_the_address(
    place: Place, names: list[str], monkeypatch: pytest.MonkeyPatch, certified: str, trusted: bool
) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(certified).configure_cert(tls)
    asked_for: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    receiver = Receiver(tls)
    endpoint, _ = place.register(f"https://receiver.example:{receiver.port}/hook")
    place.canceled_job()
    with authority.cert_pem.tempfile() as trust:
        monkeypatch.setenv("SSL_CERT_FILE", trust)
        with Deliverer(place.settings):
            (delivery,) = place.wait(endpoint, tried(1))
    assert delivered(delivery) is trusted, delivery.attempts
    assert len(receiver.requests) == trusted
    assert trusted or "certificate verify failed" in str(delivery.attempts[0].error)
    assert asked_for == ["receiver.example"]
    receiver.close()


def test_what_a_scheduler_took_along_when_it_died_is_delivered_by_the_next(place: Place, receiver: Receiver) -> None:
    endpoint, _ = place.register(receiver.url)
    place.canceled_job()
    with place.engine.begin() as conn:
        (taken,) = deliveries.claim(conn, 10, [], timedelta(hours=1))
        assert deliveries.claim(conn, 10, [], timedelta(hours=1)) == []
    place.let_time_pass()
    with Deliverer(place.settings):
        (delivery,) = place.wait(endpoint, delivered)
    assert str(taken.id) == receiver.requests[0].headers["webhook-id"]
    # The dead one comes back after all, and changes nothing.
    late = deliveries.Tried("2026-01-31T12:00:00+00:00", 1.0, 500, None, "")
    with place.engine.begin() as conn:
        deliveries.settle(conn, taken, late)
    assert place.log(endpoint) == [delivery]


def test_two_schedulers_deliver_each_event_once(place: Place, receiver: Receiver) -> None:
    endpoint, _ = place.register(receiver.url)
    for _ in range(20):
        place.canceled_job()
    with Deliverer(place.settings), Deliverer(place.settings):
        place.wait(endpoint, delivered)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 20
    assert len(receiver.requests) == 20


def test_the_secret_before_signs_as_well_until_its_time_is_over(place: Place, receiver: Receiver) -> None:
    endpoint, old = place.register(receiver.url)
    with place.engine.begin() as conn:
        rotated = endpoints.rotate(conn, endpoint.id, LOCAL_OWNER)
    assert rotated is not None
    _, new = rotated
    with Deliverer(place.settings):
        place.canceled_job()
        (first,) = receiver.received(1)
        with place.engine.begin() as conn:
            conn.execute(text("UPDATE webhook_endpoints SET previous_until = now()"))
        place.canceled_job()
        _, second = receiver.received(2)
    for secret in (old, new):
        assert Webhook(secret).verify(first.body, first.headers)
    assert Webhook(new).verify(second.body, second.headers)
    assert len(second.headers["webhook-signature"].split()) == 1


def test_an_endpoint_hears_what_it_asked_for_and_of_its_owner_alone(place: Place) -> None:
    mine, _ = place.register("http://mine.example/", [EventType.JOB_CANCELED])
    failures, _ = place.register("http://failures.example/", [EventType.JOB_FAILED])
    with place.engine.begin() as conn:
        other = uuid7()
        conn.execute(insert(owners).values(id=other, name="other"))
        theirs, _ = endpoints.create(conn, other, "http://theirs.example/", tuple(EventType), "", most=1)
    place.canceled_job()
    assert [len(place.log(endpoint)) for endpoint in (mine, failures, theirs)] == [1, 0, 0]
    batch_id = uuid4()
    with place.engine.begin() as conn:
        outbox.batch_finished(conn, batch_id, other)
    (told,) = place.log(theirs)
    assert (told.event, told.payload["data"]["id"]) == ("batch.finished", str(batch_id))
    assert [len(place.log(endpoint)) for endpoint in (mine, failures)] == [1, 0]


def test_a_move_that_is_rolled_back_tells_nobody(place: Place) -> None:
    endpoint, _ = place.register("http://mine.example/")
    with place.engine.begin() as conn:
        job_id = jobs.create(conn, jobs.NewJob(IMAGE, Ask(Task.GCG)))
    with place.engine.connect() as conn:
        assert jobs.cancel(conn, job_id)
        conn.rollback()
    assert place.log(endpoint) == []


def test_old_deliveries_are_forgotten(place: Place) -> None:
    endpoint, _ = place.register("http://mine.example/")
    place.canceled_job()
    with place.engine.begin() as conn:
        conn.execute(text("UPDATE webhook_deliveries SET created_at = now() - interval '8 days'"))
    place.canceled_job()
    with place.engine.begin() as conn:
        assert deliveries.prune(conn) == 1
    assert len(place.log(endpoint)) == 1


def test_a_mountain_of_old_deliveries_is_worked_off_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "PRUNED_AT_ONCE", 2)
    endpoint, _ = place.register("http://mine.example/")
    for _ in range(5):
        place.canceled_job()
    with place.engine.begin() as conn:
        conn.execute(text("UPDATE webhook_deliveries SET created_at = now() - interval '8 days'"))
        conn.execute(text("UPDATE webhook_deliveries SET next_at = now() + interval '1 day'"))
    with Deliverer(place.settings):
        until(lambda: place.log(endpoint) == [])


def test_without_certificates_the_scheduler_does_not_start(settings: Settings) -> None:
    environment = {**os.environ, "SSL_CERT_FILE": "/nowhere.pem", "GLAMM_DATABASE_URL": settings.database_url}
    command = [sys.executable, "-m", "services.scheduler"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert "SSL_CERT_FILE" in line


def test_the_secret_is_nowhere_but_in_its_column(
    place: Place, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint, secret = place.register(receiver.url)
    place.canceled_job()
    with place.engine.begin() as conn:
        (due,) = deliveries.claim(conn, 1, [], timedelta(0))
    assert due.secrets == (secret,)
    assert secret not in repr(due)
    assert secret not in repr(endpoint)
    with Deliverer(place.settings):
        place.wait(endpoint, delivered)
    assert secret not in caplog.text
    assert secret not in json.dumps([delivery.payload for delivery in place.log(endpoint)])
    with place.engine.connect() as conn:
        assert conn.execute(select(webhook_endpoints.c.secret)).scalar_one() == secret
