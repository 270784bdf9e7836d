"""What the scheduler deletes once its time is over."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from services.scheduler.loop import Scheduler
from shared import idempotency
from shared.database import create_engine
from shared.idempotency import Answer, Claim
from shared.settings import Settings
from shared.tables import LOCAL_OWNER, idempotency_keys


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = create_engine(settings.database_url)
    yield engine
    engine.dispose()


def test_answers_are_forgotten_when_their_time_is_over(settings: Settings, engine: Engine) -> None:
    with engine.begin() as conn:
        for key, lifetime in (("old", timedelta(seconds=-1)), ("new", timedelta(hours=1))):
            claim = idempotency.claim(conn, LOCAL_OWNER, key, "POST /jobs", lifetime)
            assert isinstance(claim, Claim)
            idempotency.keep(conn, claim.token, b"f" * 32, 9, Answer(202, {}, b"{}"))
        idempotency.claim(conn, LOCAL_OWNER, "old and under way", "POST /jobs", timedelta(seconds=-1))
    Scheduler(settings, "test").sweep()
    with engine.begin() as conn:
        left = conn.execute(select(idempotency_keys.c.key)).scalars().all()
    assert sorted(left) == ["new", "old and under way"]
