"""A PNG for every mask, the empty ones included, and an index that tells whose each is."""

import csv
import io
import json

import numpy as np
from PIL import Image

from services.scheduler.exports import ExportedJob, masks
from shared.masks import decode
from tests.scheduler.exports.files import unpacked


def test_pictures_are_the_masks(jobs: list[ExportedJob]) -> None:
    archive = unpacked(masks.write, jobs)
    lines = [json.loads(line) for line in archive.read("masks.jsonl").splitlines()]
    expected = [(job, n, phrase) for job in jobs for n, phrase in enumerate(job.result.phrases)]
    assert len(lines) == len(expected) == 6
    for line, (job, n, phrase) in zip(lines, expected, strict=True):
        picture = np.asarray(Image.open(io.BytesIO(archive.read(line["file"]))))
        np.testing.assert_array_equal(picture, decode(phrase.rle) * np.uint8(255))
        assert (line["job_id"], line["n"], line["text"]) == (str(job.id), n, phrase.text)
        assert line["area"] == np.count_nonzero(picture)
        assert line["file_name"] == job.image.file_name
    first = lines[0]
    assert first["answer"][slice(*first["span"])] == first["text"]


def test_the_index_has_a_row_for_every_job(jobs: list[ExportedJob]) -> None:
    text = unpacked(masks.write, jobs).read("index.csv").decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["job_id"] for row in rows] == [str(job.id) for job in jobs]
    assert rows[0]["custom_id"] == "photos/dögs, 1.jpg"
    assert (rows[1]["custom_id"], rows[1]["task"], rows[1]["file_name"]) == ("", "caption", "a1" * 32 + ".jpg")
