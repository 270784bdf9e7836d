"""A request's key, and what a repetition under it gets and leaves."""

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, select

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


def count(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        found: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return found


@pytest.fixture
async def image_id(api: httpx.AsyncClient, png: bytes) -> str:
    return str((await api.post("/images", content=png)).json()["id"])


def same(first: httpx.Response, again: httpx.Response) -> None:
    """The second is the kept answer of the first."""
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for name in ("Location", "Content-Type"):
        assert again.headers.get(name) == first.headers.get(name)
