"""The vision worker takes in images that a batch only names, and tells a job what is wrong with its own."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from uuid import uuid4

import pytest

from services.gateway.manifest.spool import Spool
from shared import batches, uploads
from shared.batches import Line, NewBatch
from shared.database import create_async_engine
from shared.jobs import JobView, State
from shared.objects import upload_key_of
from shared.priority import Priority
from shared.tables import LOCAL_OWNER
from shared.tasks import Ask, Task
from shared.uploads import Declared
from tests.workers.conftest import StartWorker
from tests.workers.harness import Place

DAY = timedelta(days=1)
PNG = "image/png"


def submit(place: Place, lines: Sequence[Line]) -> list[JobView]:
    """A batch of these jobs; each as it is once it has finished."""

    async def create() -> None:
        engine = create_async_engine(place.settings.database_url)
        with Spool(len(lines), skip=False) as spool:
            spool.add(lines)
            async with engine.begin() as connection:
                new = NewBatch(LOCAL_OWNER, "", Priority.BULK.rank, DAY)
                created.append(await batches.create(connection, new, spool.blocks(), spool.faults))
        await engine.dispose()

    created = []
    asyncio.run(create())
    with place.database.begin() as conn:
        rows = batches.jobs_page(conn, created[0], batches.RowFilter(), len(lines))
    return [place.finished(row.id) for row in rows]


def declare(place: Place, data: bytes, said: bytes) -> str:
    """An upload of `data` that was declared to be `said`; its id."""
    declared = Declared(sha256(said).hexdigest(), len(said), PNG)
    with place.database.begin() as conn:
        uploads.declare(conn, LOCAL_OWNER, [declared], DAY, DAY)
    place.objects.put(upload_key_of(declared.sha256, LOCAL_OWNER), data, PNG)
    return declared.sha256


@pytest.mark.usefixtures("scheduler")
def test_images_of_a_bucket_and_uploads_become_images(place: Place, worker: StartWorker) -> None:
    bucket, closed = f"photos-{uuid4().hex}", f"photos-{uuid4().hex}"
    worker(import_buckets=bucket)
    photos = place.objects.of(bucket)
    photos.ensure_bucket()
    picture, other = place.picture(1), place.picture(2)
    photos.put("a/1.png", picture, PNG)
    elsewhere = place.objects.of(closed)
    elsewhere.ensure_bucket()
    elsewhere.put("a/1.png", place.picture(5), PNG)
    photos.put("a/broken.png", picture[: len(picture) // 2], PNG)
    uploaded = declare(place, other, other)
    boxed = Ask(Task.REGION_CAPTION, boxes=((0.0, 0.0, 81.0, 60.0),))
    views = submit(
        place,
        [
            Line(1, "first", None, f"s3://{bucket}/a/1.png", Ask(Task.GCG)),
            Line(2, "again", None, f"s3://{bucket}/a/1.png", Ask(Task.CAPTION)),
            Line(3, "broken", None, f"s3://{bucket}/a/broken.png", Ask(Task.GCG)),
            Line(4, "missing", None, f"s3://{bucket}/a/none.png", Ask(Task.GCG)),
            Line(5, "boxed", None, f"s3://{bucket}/a/1.png", boxed),
            Line(6, "upload", uploaded, None, Ask(Task.GCG)),
            Line(7, "closed", None, f"s3://{closed}/a/1.png", Ask(Task.GCG)),
        ],
    )
    first, again, broken, missing, boxed_job, upload, shut = views
    for view, data in ((first, picture), (again, picture), (upload, other)):
        assert view.state is State.SUCCEEDED, view.error
        assert view.image is not None
        assert (view.image.id, view.image.width, view.image.height) == (sha256(data).hexdigest(), 80, 60)
        assert place.objects.get(view.image.object_key) == data
    assert first.source == f"s3://{bucket}/a/1.png"
    assert photos.get("a/1.png") == picture, "what others keep in their bucket stays there"
    assert not place.objects.exists(upload_key_of(uploaded, LOCAL_OWNER))
    for view, field in ((broken, "s3_uri"), (boxed_job, "boxes[0]"), (missing, "s3_uri"), (shut, "s3_uri")):
        assert view.state is State.FAILED
        assert view.error is not None
        assert (view.error.problem.field, view.error.attempt) == (field, 1)
    assert missing.error is not None
    assert "a/none.png" in missing.error.problem.detail
    assert shut.error is not None
    assert shut.image is None
    assert f"may not read the bucket {closed}" in shut.error.problem.detail


@pytest.mark.usefixtures("scheduler")
def test_an_upload_of_other_bytes_fails_its_job(place: Place, worker: StartWorker) -> None:
    worker()
    other = place.picture(3)
    (view,) = submit(place, [Line(1, None, declare(place, place.picture(4), other), None, Ask(Task.GCG))])
    assert (view.state, view.image) == (State.FAILED, None)
    assert view.error is not None
    assert view.error.problem.field == "image_id"
    assert "is not what was declared" in view.error.problem.detail
