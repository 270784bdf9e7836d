"""A gateway that takes batches of up to 5,000 jobs and reads a bucket, and what most stories of a batch do."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.gateway.app import create_app
from shared import batches
from shared.settings import Settings
from tests.gateway.conftest import Backstage, encode, picture

JSONL = {"Content-Type": "application/jsonl"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"import_buckets": (f"photos-{uuid4().hex}",), "max_batch_jobs": 5000})


@asynccontextmanager
async def limited(settings: Settings, most_queued: int) -> AsyncIterator[httpx.AsyncClient]:
    """The same service, with a limit of jobs that may wait."""
    app = create_app(settings.model_copy(update={"max_queued_jobs": most_queued}))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as api:
        yield api


async def store(api: httpx.AsyncClient, seed: int = 0, width: int = 48) -> str:
    stored = await api.post("/images", content=encode(picture(width, seed=seed)), headers={"Content-Type": "image/png"})
    return str(stored.json()["id"])


def manifest(lines: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def submit(api: httpx.AsyncClient, body: bytes, **options: str) -> httpx.Response:
    return await api.post("/batches", content=body, headers=JSONL, params=options)


def work_off(backstage: Backstage) -> None:
    """What the scheduler does of its own accord."""
    more = True
    while more:
        with backstage.engine.begin() as connection:
            more = batches.work_off(connection)


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/jsonl")
    return [json.loads(line) for line in response.text.splitlines()]
