"""Images and uploads of the local owner without a gateway: database and object store, and a look into both."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from io import BytesIO
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
from PIL import Image
from sqlalchemy import Connection, text

from shared import intake, jobs, stored_images, uploads
from shared.database import create_engine
from shared.images import Limits, check
from shared.intake import Source
from shared.jobs import NewJob
from shared.objects import ObjectStore, key_of, upload_key_of
from shared.settings import Settings
from shared.stored_images import ImageRow
from shared.tables import LOCAL_OWNER
from shared.tasks import Ask, Task
from shared.transactions import Transactions
from shared.uploads import Declared

T = TypeVar("T")

DAY = timedelta(days=1)
LIMITS = Limits(max_bytes=100_000, max_pixels=10**6, max_side=10**4)


def png(seed: int = 0) -> bytes:
    """48 × 32 pixels of noise."""
    noise = np.random.default_rng(seed).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def id_of(data: bytes) -> str:
    return sha256(data).hexdigest()


class Storehouse:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = create_engine(settings.database_url, 10)
        self.transactions = Transactions(self.engine, patience=0)
        self.objects = ObjectStore(settings)
        self.objects.ensure_bucket()

    def close(self) -> None:
        self.engine.dispose()

    def run(self, change: Callable[[Connection], T]) -> T:
        return self.transactions.run(change)

    def upload(self, data: bytes, **otherwise: Any) -> Source:
        """Declare an upload, and put the bytes where a client would; otherwise: what is declared wrongly."""
        declared = replace(Declared(id_of(data), len(data), "image/png"), **otherwise)
        self.run(lambda conn: uploads.declare(conn, LOCAL_OWNER, [declared], DAY, DAY))
        key = upload_key_of(declared.sha256, LOCAL_OWNER)
        self.objects.put(key, data, "image/png")
        return Source(self.objects, key, "image_id", declared)

    def take_in(self, source: Source) -> ImageRow:
        return intake.take_in(self.transactions, self.objects, LOCAL_OWNER, source, LIMITS)

    def first_use(self, image_id: str) -> ImageRow | None:
        return intake.first_use(self.transactions, self.objects, LOCAL_OWNER, image_id, LIMITS)

    def store(self, data: bytes, days_ago: float = 0) -> str:
        """Store an image as if it had come so many days ago; its id."""
        image = check(data, LIMITS)
        self.objects.put(key_of(image.id), data, image.media_type)
        self.run(lambda conn: stored_images.write(conn, LOCAL_OWNER, image))
        self.change(
            "UPDATE images SET created_at = now() - make_interval(secs => :s) WHERE id = :id",
            s=days_ago * 86400,
            id=image.id,
        )
        return image.id

    def find(self, image_id: str) -> ImageRow | None:
        return self.run(lambda conn: stored_images.find(conn, LOCAL_OWNER, image_id))

    def withdraw(self, image_id: str) -> None:
        self.run(lambda conn: jobs.withdraw_image(conn, image_id))

    def submit(self, image_id: str) -> UUID:
        return self.run(lambda conn: jobs.create(conn, NewJob(image_id, Ask(Task.GCG))))

    def change(self, statement: str, **values: object) -> None:
        self.run(lambda conn: conn.execute(text(statement), values))

    def count(self, table: str) -> int:
        return int(self.run(lambda conn: conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()))

    def await_lock(self, other: "Future[Any]") -> None:
        """Until the other one waits for a lock in this database, or is done."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while not other.done():
            with self.engine.connect() as conn:
                if conn.exec_driver_sql(waiting).scalar_one():
                    return
            time.sleep(0.005)
