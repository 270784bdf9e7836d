"""Batches as the gateway and the workers leave them, for the tests of what is made of them."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import numpy as np
from sqlalchemy import Engine, func, insert, update
from sqlalchemy.dialects.postgresql import insert as insert_or_leave

from shared import jobs, masks, tables
from shared.ids import uuid7
from shared.jobs import Answer, Generation, Phrase, Result, Timing
from shared.tables import LOCAL_OWNER
from shared.tasks import Ask, Task

IMAGE = "ab" * 32
WIDTH, HEIGHT = 40, 30


@dataclass
class Batches:
    engine: Engine
    lines: dict[UUID, int] = field(default_factory=dict)

    def add(self, owner_id: UUID = LOCAL_OWNER) -> UUID:
        """A batch that runs."""
        batch_id = uuid7()
        with self.engine.begin() as conn:
            row = {
                "name": "test",
                "priority": 0,
                "state": "running",
                "jobs": 1,
                "expires_at": func.now() + timedelta(days=1),
            }
            conn.execute(insert(tables.batches).values(id=batch_id, owner_id=owner_id, **row))
        return batch_id

    def finish(self, batch_id: UUID) -> None:
        with self.engine.begin() as conn:
            conn.execute(
                update(tables.batches).where(tables.batches.c.id == batch_id).values(finished_at=func.now(), counts={})
            )

    def queue(
        self,
        batch_id: UUID,
        image_id: str = IMAGE,
        custom_id: str | None = None,
        owner_id: UUID = LOCAL_OWNER,
        ask: Ask | None = None,
    ) -> UUID:
        """The batch's next job, not started."""
        self.lines[batch_id] = self.lines.get(batch_id, 0) + 1
        image = {"id": image_id, "owner_id": owner_id, "object_key": f"images/{image_id}", "media_type": "image/png"}
        place = {"batch_id": batch_id, "line": self.lines[batch_id], "custom_id": custom_id}
        with self.engine.begin() as conn:
            conn.execute(
                insert_or_leave(tables.images)
                .values(**image, width=WIDTH, height=HEIGHT, bytes=99)
                .on_conflict_do_nothing()
            )
            job_id = jobs.create(conn, jobs.NewJob(image_id, ask or Ask(Task.GCG), owner_id=owner_id))
            conn.execute(update(tables.jobs).where(tables.jobs.c.id == job_id).values(**place))
            # As when failed jobs are queued again.
            conn.execute(
                update(tables.batches).where(tables.batches.c.id == batch_id).values(finished_at=None, counts=None)
            )
        return job_id

    def succeed(self, job_id: UUID, result: Result | None = None) -> None:
        """Through all its stages."""
        result = result or grounded()
        lease = timedelta(hours=1)
        with self.engine.begin() as conn:
            message = next(one for one in jobs.admit(conn, window=1000) if one.job_id == job_id)
            vision = jobs.enter(conn, message, "host:1", lease)
            assert vision is not None
            message = jobs.complete_vision(conn, vision, Timing())
            assert message is not None
            llm = jobs.enter(conn, message, "host:1", lease)
            assert llm is not None
            said = [Generation(answer.raw_text, (1, 2), b"", 0, 0) for answer in result.answers]
            message = jobs.complete_llm(conn, llm, said, Timing())
            assert message is not None
            pixel = jobs.enter(conn, message, "host:1", lease)
            assert pixel is not None
            assert jobs.complete_pixel(conn, pixel, result, Timing())

    def done(self, batch_id: UUID, image_id: str = IMAGE, custom_id: str | None = None) -> UUID:
        """The batch's next job, succeeded."""
        job_id = self.queue(batch_id, image_id, custom_id)
        self.succeed(job_id)
        return job_id


def grounded() -> Result:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[5:20, 10:30] = True
    phrase = Phrase("A cat", (0, 5), masks.encode(mask), masks.box_of(mask), masks.area(mask), 0.75)
    return Result((Answer("A cat sleeps.", "<p> A cat </p> [SEG] sleeps.", (phrase,)),), "weights-1")
