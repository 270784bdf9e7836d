"""Exports are built once, survive whoever builds them, and are removed in time."""

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, delete, func, select, update

from services.scheduler.election import EXPORTER_LOCK, Election
from services.scheduler.exporter import Exporter
from services.scheduler.loop import Scheduler
from shared import exports, tables
from shared.errors import NotFound, Unavailable
from shared.exports import Export, Format
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.states import ExportState
from shared.tables import LOCAL_OWNER
from tests.batches import Batches

FRESH = timedelta(minutes=1)

Ask = Callable[..., Export]


@pytest.fixture
def ask(engine: Engine) -> Ask:
    def ask(batch_id: UUID, form: Format = Format.COCO, fresh_for: timedelta = timedelta(0)) -> Export:
        with engine.begin() as conn:
            return exports.request(conn, batch_id, LOCAL_OWNER, form, fresh_for)

    return ask


@pytest.fixture
def batch(batches: Batches) -> UUID:
    """Finished, with one job."""
    batch = batches.add()
    batches.done(batch, custom_id="first")
    batches.finish(batch)
    return batch


def n_instances(objects: ObjectStore, export: Export) -> int:
    assert export.object_key is not None
    data = objects.get(export.object_key)
    assert len(data) == export.bytes
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return len(json.loads(archive.read("annotations/instances.json"))["annotations"])


def test_an_export_is_queued_built_and_stored(batch: UUID, ask: Ask, exporter: Exporter, objects: ObjectStore) -> None:
    queued = ask(batch)
    assert (queued.state, queued.jobs, queued.progress) == (ExportState.QUEUED, 1, 0)
    assert ask(batch) == queued
    assert exporter.build_next()
    built = ask(batch)
    assert (built.id, built.state, built.progress) == (queued.id, ExportState.SUCCEEDED, 1)
    assert n_instances(objects, built) == 1
    assert not exporter.build_next()


@pytest.mark.parametrize("form", Format)
def test_every_format_is_built(batch: UUID, ask: Ask, exporter: Exporter, objects: ObjectStore, form: Format) -> None:
    ask(batch, form)
    exporter.build_next()
    built = ask(batch, form)
    assert built.object_key is not None
    assert objects.stat(built.object_key).media_type == form.media_type
    assert objects.get(built.object_key)[:4] == (b"PAR1" if form is Format.PARQUET else b"PK\3\4")


def test_the_same_file_is_given_until_another_job_succeeds(
    batches: Batches, batch: UUID, ask: Ask, exporter: Exporter, objects: ObjectStore
) -> None:
    first = ask(batch)
    other = ask(batch, Format.MASKS)
    exporter.build_next()
    exporter.build_next()
    assert first.id != other.id
    retried = batches.queue(batch)
    assert ask(batch).id == first.id
    batches.succeed(retried)
    second = ask(batch)
    assert (second.id == first.id, second.jobs) == (False, 2)
    exporter.build_next()
    assert n_instances(objects, ask(batch)) == 2


def test_a_file_of_a_batch_that_runs_is_good_for_a_while(batches: Batches, ask: Ask, exporter: Exporter) -> None:
    batch = batches.add()
    first = ask(batch)
    exporter.build_next()
    batches.done(batch)
    assert ask(batch, fresh_for=FRESH).id == first.id
    batches.finish(batch)
    assert ask(batch, fresh_for=FRESH).id != first.id


def test_a_batch_of_another_owner_is_not_there(batch: UUID, engine: Engine) -> None:
    with engine.begin() as conn, pytest.raises(NotFound):
        exports.request(conn, batch, uuid4(), Format.COCO, FRESH)
    with engine.connect() as conn:
        assert conn.execute(select(func.count()).select_from(tables.exports)).scalar_one() == 0


def test_many_who_ask_at_once_get_one_export(batch: UUID, ask: Ask, engine: Engine) -> None:
    met: list[UUID] = []
    together = threading.Barrier(4)

    def run() -> None:
        together.wait()
        met.append(ask(batch).id)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(met) == 4
    assert len(set(met)) == 1


def test_a_build_that_died_is_begun_again(
    batch: UUID, ask: Ask, exporter: Exporter, engine: Engine, objects: ObjectStore
) -> None:
    ask(batch)
    with engine.begin() as conn:
        died = exports.begin(conn, 3, FRESH)
    assert died is not None
    # It had stored its file, and could not say so any more.
    objects.put(f"{died.folder}{died.attempt}", b"a file that nobody knows of", "application/zip")
    assert ask(batch).state is ExportState.RUNNING
    assert exporter.build_next()
    built = ask(batch)
    assert (built.id, built.attempt, built.state) == (died.id, 2, ExportState.SUCCEEDED)
    assert list(objects.keys("exports/")) == [built.object_key]


def test_a_builder_that_was_thought_dead_changes_nothing(
    batch: UUID, ask: Ask, exporter: Exporter, engine: Engine
) -> None:
    ask(batch)
    with engine.begin() as conn:
        first = exports.begin(conn, 3, FRESH)
        second = exports.begin(conn, 3, FRESH)
        assert first is not None
        assert second is not None
        assert not exports.report(conn, first, 0.5)
        assert not exports.succeed(conn, first, "key", 1, FRESH)
        assert not exports.give_back(conn, first)
        assert exports.report(conn, second, 0.25)
    assert ask(batch).progress == 0.25


def test_an_export_that_ends_every_builder_fails(batch: UUID, ask: Ask, exporter: Exporter, engine: Engine) -> None:
    ask(batch)
    for _ in range(3):
        with engine.begin() as conn:
            assert exports.begin(conn, 3, FRESH)
    assert not exporter.build_next()
    failed = ask(batch, fresh_for=FRESH)
    assert failed.state is ExportState.FAILED
    assert failed.error is not None
    assert failed.error.type == "urn:glamm:problem:export-failed"
    # It is told for a while; who asks after that has it tried again.
    again = ask(batch)
    assert (again.id == failed.id, again.state) == (False, ExportState.QUEUED)


def test_a_result_that_no_writer_can_take_fails_its_export_alone(
    batches: Batches, batch: UUID, ask: Ask, exporter: Exporter, engine: Engine
) -> None:
    broken = batches.add()
    job_id = batches.done(broken)
    with engine.begin() as conn:
        conn.execute(
            update(tables.phrases).where(tables.phrases.c.job_id == job_id).values(rle_counts="\u00fc", height=3)
        )
    failed, good = ask(broken, Format.CVAT), ask(batch, Format.CVAT)
    assert exporter.build_next()
    assert exporter.build_next()
    failed, good = ask(broken, Format.CVAT, FRESH), ask(batch, Format.CVAT)
    assert (failed.state, good.state) == (ExportState.FAILED, ExportState.SUCCEEDED)
    assert failed.error is not None
    assert failed.error.remedy is not None


def test_a_folder_that_takes_no_file_is_said(
    batch: UUID, ask: Ask, settings: Settings, exporter: Exporter, tmp_path: Path
) -> None:
    ask(batch)
    Exporter(settings.model_copy(update={"export_folder": tmp_path / "nowhere"})).build_next()
    failed = ask(batch, fresh_for=FRESH)
    assert failed.error is not None
    assert "No such file" in failed.error.detail
    assert "GLAMM_EXPORT_FOLDER" in (failed.error.remedy or "")


def test_an_object_store_that_is_away_costs_no_attempt(
    batch: UUID, ask: Ask, settings: Settings, exporter: Exporter
) -> None:
    ask(batch)
    away = Exporter(settings.model_copy(update={"s3_endpoint": "127.0.0.1:1"}))
    for _ in range(4):
        with pytest.raises(Unavailable, match="object store"):
            away.build_next()
    assert (ask(batch).state, ask(batch).attempt) == (ExportState.QUEUED, 0)
    exporter.build_next()
    assert ask(batch).state is ExportState.SUCCEEDED


def test_a_file_that_the_object_store_never_takes_is_given_up(
    batch: UUID, ask: Ask, exporter: Exporter, engine: Engine
) -> None:
    ask(batch)
    for attempt in (1, 2, 3):
        with engine.begin() as conn:
            begun = exports.begin(conn, 3, FRESH)
            assert begun is not None
            assert exports.give_back(conn, begun, counted=True)
        assert (ask(batch).state, ask(batch).attempt) == (ExportState.QUEUED, attempt)
    assert not exporter.build_next()
    assert ask(batch, fresh_for=FRESH).state is ExportState.FAILED


def test_what_is_past_its_time_is_removed(
    batch: UUID, ask: Ask, exporter: Exporter, engine: Engine, objects: ObjectStore
) -> None:
    first = ask(batch)
    exporter.build_next()
    exporter.remove_outlived()
    assert list(objects.keys("exports/"))
    with engine.begin() as conn:
        conn.execute(update(tables.exports).values(expires_at=func.now() - timedelta(seconds=1)))
    assert ask(batch, fresh_for=FRESH).id != first.id
    exporter.remove_outlived()
    assert list(objects.keys("exports/")) == []
    with engine.connect() as conn:
        assert first.id not in conn.execute(select(tables.exports.c.id)).scalars().all()


def test_an_export_goes_with_its_batch(
    batch: UUID, ask: Ask, exporter: Exporter, engine: Engine, objects: ObjectStore
) -> None:
    ask(batch)
    exporter.build_next()
    ask(batch, Format.CVAT)
    with engine.begin() as conn:
        conn.execute(delete(tables.jobs))
        conn.execute(delete(tables.batches))
    assert not exporter.build_next()
    exporter.remove_outlived()
    assert list(objects.keys("exports/")) == []
    with engine.connect() as conn:
        assert conn.execute(select(func.count()).select_from(tables.exports)).scalar_one() == 0


def test_one_of_several_exporters_builds(settings: Settings, engine: Engine) -> None:
    first, second = Election(engine, EXPORTER_LOCK), Election(engine, EXPORTER_LOCK)
    leader = Election(engine)
    assert first.won()
    assert not second.won()
    assert leader.won()
    first.resign()
    assert second.won()
    second.resign()
    leader.resign()


def test_a_scheduler_builds_beside_its_loop(settings: Settings, batch: UUID, ask: Ask, objects: ObjectStore) -> None:
    ask(batch)
    scheduler = Scheduler(settings, "test")
    running = threading.Thread(target=scheduler.run)
    running.start()
    while ask(batch, fresh_for=FRESH).state in (ExportState.QUEUED, ExportState.RUNNING):
        time.sleep(0.05)
    scheduler.stop()
    running.join()
    assert n_instances(objects, ask(batch)) == 1


def test_a_scheduler_that_stops_gives_its_build_back(batch: UUID, ask: Ask, exporter: Exporter) -> None:
    exporter.start()
    exporter.stop()
    ask(batch)
    # From here on it is told to stop in the middle of whatever it builds.
    exporter.build_next()
    assert (ask(batch).state, ask(batch).attempt) == (ExportState.QUEUED, 0)
