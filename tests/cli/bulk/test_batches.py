"""`ps`, `jobs`, `results`, `show`, `pause`, `resume`, `retry`, `cancel` and the shell's completion."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image

from services.cli.bulk.formats import Format
from services.cli.client import GlammClient
from services.scheduler.exporter import Exporter
from shared import exports
from shared.errors import ExportFailed
from shared.settings import Settings
from shared.tasks import Ask, Task
from tests.cli.conftest import PHRASE
from tests.deploy.compose import ROOT
from tests.gateway.conftest import encode, picture


@pytest.fixture
def batch(glamm, photos) -> str:
    made: str = glamm("submit", photos, "--name", "photos").out.strip()
    return made


def test_batches_are_listed_the_newest_first(glamm, batch, photos) -> None:
    newer = glamm("submit", photos, "--again").out.strip()
    lines = glamm("ps", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [newer, batch]
    assert [json.loads(line)["id"] for line in glamm("ps", "--json", "--limit", 1).out.splitlines()] == [newer]
    shown = glamm("ps").out.splitlines()
    assert [row.split()[0] for row in shown] == ["id", newer, batch]
    assert shown[-1].endswith("running: 0 of 4 jobs (0%), 0 jobs/s")


def test_jobs_of_a_batch_are_listed_by_what_they_are_and_why_they_failed(glamm, gateway, client, batch) -> None:
    gateway.work("b.png")

    def names(*options: object) -> list[str]:
        run = glamm("jobs", batch, "--json", *options)
        assert run.code == 0, run.err
        return [json.loads(line)["custom_id"] for line in run.out.splitlines()]

    assert names() == ["a.png", "b.png", "more/a.png", "more/b.png"]
    assert names("--state", "failed", "--state", "canceled") == ["b.png"]
    assert names("--custom-id", "more/a.png", "--task", "gcg") == ["more/a.png"]
    assert names("--task", "vqa") == []
    (problem,) = client.batch(batch).problems
    assert problem.title in glamm("watch", batch).out
    for error in (problem.title, problem.type, "unavailable"):
        assert names("--error", error) == ["b.png"]
    assert names("--error", "expired") == []
    for wrong in ("Out of luck", "out-of-luck"):
        misspelt = glamm("jobs", batch, "--error", wrong)
        assert (misspelt.code, misspelt.out) == (2, "")
        assert f'"{problem.title}"' in misspelt.err
    run = glamm("jobs", batch, "--limit", 2)
    assert (run.code, "b.png" in run.out, "more/a.png" in run.out) == (0, True, False)
    assert "--limit" in run.err


def test_without_a_batch_all_jobs_are_listed_the_newest_first(glamm, client, batch) -> None:
    images = [client.upload_image(encode(picture(seed=seed))).id for seed in (7, 8)]
    single = client.create_job(images[0], Ask(Task.CAPTION))
    turn = client.take_turn(client.begin_conversation(images[1]).id, Ask(Task.VQA, "What is this?"))
    client.cancel_job(single.id)

    def ids(*options: object) -> list[str]:
        run = glamm("jobs", "--json", *options)
        assert run.code == 0, run.err
        return [json.loads(line)["id"] for line in run.out.splitlines()]

    own, of_batch = [str(turn.id), str(single.id)], {str(job.id) for job in client.batch_jobs(batch)}
    assert ids()[:2] == own
    assert set(ids()[2:]) == of_batch
    assert ids("--state", "canceled") == ids("--task", "caption") == ids("--image", images[0]) == [str(single.id)]
    assert ids("--state", "canceled", "--state", "queued", "--image", images[1]) == [str(turn.id)]
    run = glamm("jobs", "--limit", 3)
    assert (run.code, "--limit" in run.err) == (0, True)
    rows = [line.split() for line in run.out.splitlines()]
    assert (rows[1][0], rows[1][3:]) == (str(turn.id), ["turn", "1", "vqa", "queued"])
    assert (rows[2][0], rows[2][3:]) == (str(single.id), ["caption", "canceled"])
    assert rows[3][3:] == ["batch", "gcg", "queued"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--custom-id", "a.png"), "--custom-id"),
        (("--error", "expired"), "--error"),
        (("01900000-0000-7000-8000-000000000000", "--image", "0" * 64), "--image"),
        (("--image", "a.png"), "image_id"),
    ],
)
def test_a_filter_that_a_list_of_jobs_does_not_have_is_told(glamm, options, told) -> None:
    run = glamm("jobs", *options)
    assert (run.code, run.out, len(run.err.splitlines())) == (2, "", 1)
    assert told in run.err


def test_results_and_errors_are_fetched_whole(glamm, gateway, batch, tmp_path) -> None:
    early = glamm("results", batch, "--out", tmp_path / "early", "--json")
    assert early.code == 0
    assert "not all of it" in early.err
    assert json.loads(early.out)["state"] == "running"
    gateway.work("b.png")
    out = tmp_path / "out"
    run = glamm("results", batch, "--out", out)
    assert (run.code, run.err) == (0, "")
    assert run.out.splitlines() == [str(out / "results.jsonl"), str(out / "errors.jsonl")]
    assert sorted(path.name for path in out.iterdir()) == ["errors.jsonl", "results.jsonl"]
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in results] == ["a.png", "more/a.png", "more/b.png"]
    (error,) = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    assert (error["custom_id"], error["state"]) == ("b.png", "failed")
    told = json.loads(glamm("results", batch, "--out", out, "--json").out)
    assert (told["files"], told["state"]) == (run.out.splitlines(), "finished")


def test_the_results_of_one_batch_do_not_replace_those_of_another(glamm, gateway, batch, photos, tmp_path) -> None:
    other = glamm("submit", photos, "--again").out.strip()
    gateway.work("a.png", "b.png", "more/a.png", "more/b.png")
    assert glamm("results", batch, "--out", tmp_path).code == 0
    errors = (tmp_path / "errors.jsonl").read_bytes()
    assert (len(errors.splitlines()), (tmp_path / "results.jsonl").read_bytes()) == (4, b"")
    refused = glamm("results", other, "--out", tmp_path)
    assert (refused.code, refused.out, len(refused.err.splitlines())) == (2, "", 1)
    assert "errors.jsonl" in refused.err
    assert (tmp_path / "errors.jsonl").read_bytes() == errors
    assert glamm("retry", batch).code == 0
    gateway.settle()
    gateway.work()
    assert glamm("results", batch, "--out", tmp_path).code == 0
    (tmp_path / "errors.jsonl").unlink()
    assert "results.jsonl" in glamm("results", other, "--out", tmp_path).err


@pytest.mark.parametrize("held", ["of mine", '{"id": 3}', '{"id": "01900000-0000-7000-8000-000000000000"}', "[]"])
def test_what_is_no_result_of_the_service_is_not_replaced(glamm, batch, tmp_path, held) -> None:
    (tmp_path / "results.jsonl").write_text(held)
    run = glamm("results", batch, "--out", tmp_path)
    assert (run.code, run.out) == (2, "")
    assert (tmp_path / "results.jsonl").read_text() == held


@pytest.fixture
def exporter(settings: Settings) -> Iterator[None]:
    """What of the scheduler builds exports."""
    working = Exporter(settings)
    working.start()
    yield
    working.stop()


@pytest.mark.parametrize(("form", "ending"), [("coco", "zip"), ("parquet", "parquet")])
def test_a_dataset_is_fetched_in_the_form_of_a_tool(
    glamm, gateway, batch, exporter, tmp_path, form: str, ending: str
) -> None:
    gateway.work("b.png")
    run = glamm("results", batch, "--out", tmp_path, "--format", form)
    assert run.code == 0, run.err
    path = tmp_path / f"{batch}-{form}.{ending}"
    assert run.out == f"{path}\n"
    if ending == "zip":
        assert "annotations/instances.json" in zipfile.ZipFile(path).namelist()
    else:
        assert pyarrow.parquet.read_table(path).num_rows == 3


def test_a_dataset_that_cannot_be_built_is_told(glamm, gateway, batch, tmp_path) -> None:
    gateway.work()
    client = GlammClient(gateway.url)
    assert client.export(batch, exports.Format.COCO).state == "queued"
    with gateway.backstage.engine.begin() as connection:
        export = exports.begin(connection, 3, timedelta(days=1))
        assert export is not None
        assert exports.fail(connection, export, ExportFailed("It is too large.").to_problem(), timedelta(days=1))
    run = glamm("results", batch, "--out", tmp_path, "--format", "coco")
    assert (run.code, run.out) == (1, "")
    assert "too large" in run.err


def test_formats_are_those_of_the_service() -> None:
    assert {form.value for form in Format} == {"jsonl", *exports.Format}


def test_what_cannot_be_written_is_told(glamm, batch, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    run = glamm("results", batch, "--out", tmp_path / "file")
    assert run.code == 2
    assert "--out" in run.err


def test_a_job_is_shown_with_its_picture(glamm, gateway, client, batch, tmp_path) -> None:
    gateway.work("b.png")
    done, failed, *_ = client.list_batch_jobs(batch).jobs
    run = glamm("show", done.id, "--out", tmp_path / "out")
    assert run.code == 0, run.err
    assert f"{PHRASE.text}¹." in run.out
    picture = tmp_path / "out" / f"{done.id}.overlay.png"
    assert str(picture) in run.out
    assert Image.open(picture).mode == "RGB"
    run = glamm("show", failed.id, "--json", "--out", tmp_path / "none")
    assert run.code == 1
    assert json.loads(run.out)["error"]["title"] == "Service unavailable"
    assert not (tmp_path / "none").exists()
    assert "object store does not answer" in glamm("show", failed.id).out


def test_a_job_whose_image_was_deleted_is_shown_without_one(glamm, gateway, client, batch, tmp_path) -> None:
    gateway.work()
    job = client.list_batch_jobs(batch).jobs[0]
    client.delete_image(job.image_id)
    run = glamm("show", job.id, "--out", tmp_path / "out")
    assert run.code == 0
    assert "deleted" in run.err
    assert PHRASE.text in run.out


def test_a_batch_is_paused_resumed_retried_and_canceled(glamm, gateway, client, batch) -> None:
    def state(name: str) -> Any:
        run = glamm(name, batch, "--json")
        assert run.code == 0, run.err
        return json.loads(run.out)["state"]

    assert [state("pause"), state("resume")] == ["paused", "running"]
    gateway.work("a.png")
    assert state("retry") == "running"
    gateway.settle()
    assert "canceled" in glamm("cancel", batch).out
    gateway.settle()
    assert client.batch(batch).counts["canceled"] == 1
    refused = glamm("resume", batch)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)


def test_what_is_neither_a_batch_nor_a_job_cannot_be_canceled(glamm) -> None:
    run = glamm("cancel", "01900000-0000-7000-8000-000000000000")
    assert (run.code, run.out, len(run.err.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["glamm", "wa"], "watch"),
        (["glamm", "results", "--form"], "--format"),
        (["glamm", "results", "--format", "label"], "labelstudio"),
        (["glamm", "submit", "--task", "reg"], "region_caption"),
        (["glamm", "annotate", "--task", "gr"], "ground"),
        (["glamm", "ch"], "chat"),
        (["glamm", "jobs", "--state", "fa"], "failed"),
        (["glamm", "webhooks", "rot"], "rotate"),
        (["glamm", "webhooks", "add", "--event", "batch"], "batch.finished"),
        (["glamm", "keys", "limits", "--re"], "--requests-per-minute --reset"),
    ],
)
def test_the_shell_completes_commands_options_and_values(typed, offered) -> None:
    asked = {"_GLAMM_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(typed), "COMP_CWORD": str(len(typed) - 1)}
    ended = subprocess.run(
        [sys.executable, "-m", "services.cli"],
        cwd=ROOT,
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.split() == offered.split(), ended.stderr
