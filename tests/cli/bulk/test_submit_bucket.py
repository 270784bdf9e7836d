"""`glamm submit s3://…`: what lies below a prefix of a bucket becomes a batch, once."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from services.cli.bulk import plans
from shared.errors import InvalidInput
from shared.objects import ObjectStore
from shared.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"import_buckets": (f"photos-{uuid4().hex}",)})


@pytest.fixture
def bucket(gateway, settings: Settings) -> ObjectStore:
    (name,) = settings.import_buckets
    photos: ObjectStore = gateway.backstage.objects.of(name)
    photos.ensure_bucket()
    for key in ("june/a.png", "june/b.JPG", "june/notes.txt", "july/c.png"):
        photos.put(key, b"anything", "image/png")
    return photos


@pytest.fixture
def june(bucket, settings: Settings) -> str:
    return f"s3://{settings.import_buckets[0]}/june/"


def test_a_prefix_becomes_a_batch_and_is_found_again_whatever_lies_there_by_then(glamm, client, bucket, june) -> None:
    asked = ("submit", june, "--task", "refseg", "--expression", "the dog", "--name", "dogs")
    first = glamm(*asked)
    assert (first.code, first.err) == (0, "2 jobs.\n")
    (batch,) = client.batches()
    assert (first.out, batch.name, batch.priority) == (f"{batch.id}\n", "dogs", "bulk")
    jobs = list(client.batch_jobs(batch.id))
    assert [job.source for job in jobs] == [f"{june}a.png", f"{june}b.JPG"]
    assert client.job(jobs[0].id).request.expressions == ["the dog"]
    bucket.put("june/d.png", b"anything", "image/png")
    second = glamm(*asked)
    assert (second.out, "--again" in second.err) == (first.out, True)
    told = json.loads(glamm(*asked, "--again", "--json").out)
    assert (told["made"], told["images"], told["batch"]["jobs"]) == (True, 0, 3)


def test_a_batch_whose_answer_was_lost_is_not_made_again(glamm, client, june, data: Path) -> None:
    first = glamm("submit", june, "--expires-in", 90)
    with closing(sqlite3.connect(data.parent / "submissions.sqlite", isolation_level=None)) as known:
        known.execute("UPDATE requests SET batch_id = NULL")
    assert glamm("submit", june, "--expires-in", 90).out == first.out
    (batch,) = client.batches()
    assert 90 <= (batch.expires_at - batch.created_at).total_seconds() < 3600


@pytest.mark.parametrize(
    ("sources", "options", "told"),
    [
        (["s3://closed"], [], "s3.bucket"),
        (["s3://Photos/june/"], [], "names no place"),
        (["s3://photos/june/", "."], [], "there is more"),
        (["s3://photos/june/"], ["--name", "x" * 201], "--name"),
    ],
)
def test_what_cannot_be_submitted_is_told_in_a_line(glamm, sources, options, told) -> None:
    run = glamm("submit", *sources, *options)
    assert (run.code, run.out) == (2, "")
    (line,) = run.err.splitlines()
    assert told in line


def test_a_bucket_as_a_whole_can_be_named() -> None:
    for source in ("s3://photos", "s3://photos/"):
        place = plans.in_bucket([source])
        assert place is not None
        assert (place.bucket, place.prefix) == ("photos", "")
    assert plans.in_bucket(["photos", "more"]) is None
    with pytest.raises(InvalidInput, match="names no place"):
        plans.in_bucket(["s3:///june/"])
