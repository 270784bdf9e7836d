"""What a worker hears of the jobs it holds: the end of one, at once, and nothing but what is so."""

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from datetime import timedelta

import pytest

from shared import jobs
from shared.database import notify
from shared.jobs import Run
from shared.transactions import Transactions
from tests.workers.harness import SECONDS, Place
from workers.ears import Ears
from workers.leases import Leases
from workers.ticket import Ticket

LEASE = timedelta(hours=1)


@pytest.fixture
def leases(place: Place) -> Leases:
    return Leases(Transactions(place.database, patience=5), LEASE, longest=60)


@pytest.fixture
def ears(place: Place, leases: Leases) -> Iterator[Ears]:
    ears = Ears(place.settings.database_url, leases)
    yield ears
    ears.close()


@pytest.fixture
def enter(place: Place) -> Callable[[int], Run]:
    """A new job that this worker has claimed."""

    def enter(seed: int = 0) -> Run:
        place.submit(place.upload(place.picture(seed)))
        (message,) = place.admit()
        with place.database.begin() as conn:
            run = jobs.enter(conn, message, "here", LEASE)
        assert run is not None
        return run

    return enter


def ended(ticket: Ticket[None]) -> bool:
    """Whether it is cancelled, as it may have to be any moment now."""
    try:
        ticket.result(SECONDS)
    except CancelledError:
        return True
    return False


def test_a_canceled_job_is_let_go_and_no_other(
    place: Place, leases: Leases, ears: Ears, enter: Callable[[int], Run]
) -> None:
    canceled, other = enter(1), enter(2)
    with leases.hold(canceled) as hold, leases.hold(other) as kept:
        tickets = [Ticket[None](None, urgent=False, steps=0) for _ in range(2)]
        hold.watch(tickets[0])
        kept.watch(tickets[1])
        with place.database.begin() as conn:
            assert jobs.cancel(conn, canceled.job_id)
        assert ended(tickets[0])
        assert not tickets[1].done()


def test_a_job_that_expired_is_let_go(place: Place, leases: Leases, ears: Ears, enter: Callable[[int], Run]) -> None:
    run = enter(1)
    ticket = Ticket[None](None, urgent=False, steps=0)
    with leases.hold(run) as hold:
        hold.watch(ticket)
        with place.database.begin() as conn:
            conn.exec_driver_sql("UPDATE jobs SET expires_at = now() - interval '1 s'")
            assert len(jobs.expire(conn)) == 1
        assert ended(ticket)


def test_what_is_said_of_a_job_is_looked_up(
    place: Place, leases: Leases, ears: Ears, enter: Callable[[int], Run]
) -> None:
    """A notification that comes late, when the job has been begun anew, ends nothing."""
    rumoured, canceled = enter(1), enter(2)
    with leases.hold(rumoured) as kept, leases.hold(canceled) as hold:
        tickets = [Ticket[None](None, urgent=False, steps=0) for _ in range(2)]
        kept.watch(tickets[0])
        hold.watch(tickets[1])
        with place.database.begin() as conn:
            notify(conn, rumoured.job_id, "canceled")
            jobs.cancel(conn, canceled.job_id)
        assert ended(tickets[1])
        assert not tickets[0].done()


def test_a_job_that_ends_while_it_is_claimed_is_let_go(
    place: Place, leases: Leases, enter: Callable[[int], Run]
) -> None:
    run = enter(1)
    with place.database.begin() as conn:
        jobs.cancel(conn, run.job_id)
    leases.look_at({run.job_id})
    with leases.hold(run) as hold:
        ticket = Ticket[None](None, urgent=False, steps=0)
        hold.watch(ticket)
        assert ticket.cancelled()


def test_what_ended_while_nobody_listened_is_found(place: Place, leases: Leases, enter: Callable[[int], Run]) -> None:
    run = enter(1)
    ticket = Ticket[None](None, urgent=False, steps=0)
    with leases.hold(run) as hold:
        hold.watch(ticket)
        with place.database.begin() as conn:
            jobs.cancel(conn, run.job_id)
        late = Ears(place.settings.database_url, leases)
        assert ended(ticket)
        late.close()
