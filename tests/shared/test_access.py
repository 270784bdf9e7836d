"""API keys in the database: one for each secret, and one under each id."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from shared import access
from shared.database import create_engine
from shared.errors import Conflict, IdTaken
from shared.ids import uuid7
from shared.scopes import Scope


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def test_two_keys_share_no_secret_and_no_id(engine: Engine) -> None:
    key_id, secret = uuid7(), access.new_secret()
    with engine.begin() as conn:
        key, shown = access.create_key(conn, "ann", [Scope.READ], secret=secret, key_id=key_id)
    assert (key.id, shown) == (key_id, secret)
    with engine.begin() as conn, pytest.raises(Conflict, match="secret"):
        access.create_key(conn, "bob", [Scope.READ], secret=secret)
    with engine.begin() as conn, pytest.raises(IdTaken, match=str(key_id)):
        access.create_key(conn, "ann", [Scope.READ], key_id=key_id)
    with engine.begin() as conn:
        assert access.keys_page(conn, None, 10) == [key]
