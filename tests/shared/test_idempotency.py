"""The life of an Idempotency-Key: claimed by one, answered once, and taken over when its gateway has died."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine

from shared import access, idempotency
from shared.database import create_engine
from shared.errors import KeyReused, UnderWay
from shared.idempotency import Answer, Claim, Kept
from shared.tables import LOCAL_OWNER

DAY = timedelta(days=1)
ANSWER = Answer(202, {"location": "/jobs/7"}, b'{"id": 7}')
BODY = b"f" * 32


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, pool_size=10)
    yield engine
    engine.dispose()


def claim(
    engine: Engine, key: str = "a", operation: str = "POST /jobs", owner: UUID = LOCAL_OWNER, lifetime: timedelta = DAY
) -> Claim | Kept:
    with engine.begin() as conn:
        return idempotency.claim(conn, owner, key, operation, lifetime)


def claimed(engine: Engine, **what: timedelta) -> Claim:
    got = claim(engine, **what)
    assert isinstance(got, Claim)
    return got


def let_time_pass(engine: Engine, column: str) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql(f"UPDATE idempotency_keys SET {column} = now() - interval '1 s'")


def test_of_many_at_once_one_carries_the_request_out(engine: Engine) -> None:
    def attempt(_: int) -> Claim | None:
        try:
            return claimed(engine)
        except UnderWay:
            return None

    with ThreadPoolExecutor(8) as threads:
        attempts = list(threads.map(attempt, range(16)))
    assert len([one for one in attempts if one is not None]) == 1


def test_an_answer_is_kept_for_its_request_alone(engine: Engine) -> None:
    first = claimed(engine)
    with engine.begin() as conn:
        idempotency.keep(conn, first.token, BODY, 20, ANSWER)
    assert claim(engine) == Kept(first.resource_id, BODY, 20, ANSWER)
    with pytest.raises(KeyReused) as refusal:
        claim(engine, operation="POST /images")
    assert refusal.value.field == "Idempotency-Key"
    with engine.begin() as conn:
        other = access.ensure_owner(conn, "other")
    assert isinstance(claim(engine, owner=other), Claim)
    assert isinstance(claim(engine, key="b"), Claim)


def test_a_request_that_was_refused_leaves_its_key_free(engine: Engine) -> None:
    first = claimed(engine)
    with engine.begin() as conn:
        idempotency.forget(conn, first.token)
    assert claimed(engine).resource_id != first.resource_id


@pytest.mark.parametrize("died", [True, False])
def test_a_request_that_broke_off_is_gone_on_with_under_its_id(engine: Engine, died: bool) -> None:
    first = claimed(engine)
    if died:
        let_time_pass(engine, "leased_until")
    else:
        with engine.begin() as conn:
            idempotency.let_go(conn, first.token)
    with pytest.raises(KeyReused):
        claim(engine, operation="POST /images")
    second = claimed(engine)
    assert (second.resource_id, first.first, second.first) == (first.resource_id, True, False)
    # Whoever was believed dead has nothing to say any more.
    with engine.begin() as conn:
        for change in (idempotency.forget, idempotency.let_go, idempotency.renew):
            change(conn, first.token)
        idempotency.keep(conn, first.token, b"x" * 32, 1, Answer(500, {}, b""))
    with pytest.raises(UnderWay):
        claim(engine)
    with engine.begin() as conn:
        idempotency.keep(conn, second.token, BODY, 20, ANSWER)
        idempotency.forget(conn, second.token)
    assert isinstance(claim(engine), Kept)


def test_a_renewed_claim_stays(engine: Engine) -> None:
    first = claimed(engine)
    let_time_pass(engine, "leased_until")
    with engine.begin() as conn:
        idempotency.renew(conn, first.token)
    with pytest.raises(UnderWay):
        claim(engine)


def test_a_key_stands_for_its_request_for_a_time(engine: Engine) -> None:
    first = claimed(engine)
    let_time_pass(engine, "expires_at")
    with pytest.raises(UnderWay):
        claim(engine)
    with engine.begin() as conn:
        idempotency.keep(conn, first.token, BODY, 20, ANSWER)
    # Swept or not: nobody gets the old answer.
    second = claim(engine, operation="POST /images")
    assert isinstance(second, Claim)
    assert second.resource_id != first.resource_id
    with engine.begin() as conn:
        idempotency.keep(conn, second.token, BODY, 20, ANSWER)
    let_time_pass(engine, "expires_at")
    with engine.begin() as conn:
        assert idempotency.sweep(conn) == 1
        assert idempotency.sweep(conn) == 0
