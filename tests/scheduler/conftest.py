"""Batches in a database, and an exporter that the test drives by hand."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from services.scheduler.exporter import Exporter
from shared.database import create_engine
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.transactions import Transactions
from tests.batches import Batches


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = create_engine(settings.database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def transactions(engine: Engine) -> Transactions:
    return Transactions(engine, patience=5)


@pytest.fixture
def batches(engine: Engine) -> Batches:
    return Batches(engine)


@pytest.fixture
def objects(settings: Settings) -> ObjectStore:
    objects = ObjectStore(settings)
    objects.ensure_bucket()
    return objects


@pytest.fixture
def exporter(settings: Settings, objects: ObjectStore) -> Exporter:
    """Not started: its moves are the test's."""
    return Exporter(settings)
