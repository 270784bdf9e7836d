"""pyarrow reads back everything that is known of a job."""

import io

import numpy as np
from pyarrow import parquet as reader

from services.scheduler.exports import ExportedJob, parquet
from shared import masks, schema
from shared.masks import Rle
from tests.scheduler.exports.files import written


def test_a_row_is_a_job(jobs: list[ExportedJob]) -> None:
    rows = reader.read_table(io.BytesIO(written(parquet.write, jobs))).to_pylist()
    assert len(rows) == len(jobs)
    for row, job in zip(rows, jobs, strict=True):
        assert (row["job_id"], row["custom_id"], row["line"]) == (str(job.id), job.custom_id, job.line)
        assert (row["sha256"], row["width"], row["height"]) == (job.image.id, job.image.width, job.image.height)
        assert (row["task"], row["text"], row["model"]) == (job.ask.task, job.result.text, "weights-1")
        assert row["finished_at"] == job.finished_at
        request = schema.from_ask(job.ask)
        assert type(request).model_validate_json(row["request"]) == request
        for found, phrase in zip(row["phrases"], job.result.phrases, strict=True):
            rle = Rle(*found["mask"]["size"], found["mask"]["counts"])
            np.testing.assert_array_equal(masks.decode(rle), masks.decode(phrase.rle))
            assert (found["text"], found["area"], found["score"]) == (phrase.text, phrase.area, phrase.score)
            assert found["box"] == (None if phrase.box is None else list(phrase.box))
            if found["span"] is not None and row["task"] != "refseg":
                assert row["text"][slice(*found["span"])] == phrase.text
    refseg = rows[3]["answers"]
    assert [(one["expression"], one["phrases"]) for one in refseg] == [("the  Ball", [0]), ("a cat", [])]
    assert [one["box"] for one in rows[4]["answers"]] == [[1, 2, 11, 12], [0, 0, 31, 20]]


def test_many_jobs_are_several_groups_of_rows(jobs: list[ExportedJob]) -> None:
    file = reader.ParquetFile(io.BytesIO(written(parquet.write, jobs * 400)))
    assert (file.metadata.num_rows, file.num_row_groups) == (2400, 3)


def test_a_batch_of_nothing_has_columns_and_no_rows() -> None:
    table = reader.read_table(io.BytesIO(written(parquet.write, [])))
    assert table.num_rows == 0
    assert "phrases" in table.column_names
