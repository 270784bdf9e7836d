"""`glamm submit`: a folder becomes a batch, once, whatever happens on the way."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import sleep

import pytest

from services.cli.client import GlammClient, Refused
from shared import schema
from tests.cli.conftest import PATIENCE, Played
from tests.deploy.compose import ROOT
from tests.gateway.conftest import encode, picture

NAMES = ["a.png", "b.png", "more/a.png", "more/b.png"]


def batches(client) -> list[object]:
    return [batch.id for batch in client.batches()]


def ledger(data: Path) -> sqlite3.Connection:
    return sqlite3.connect(data.parent / "submissions.sqlite", isolation_level=None)


def stored(data: Path) -> int:
    """Images that are noted as the service's."""
    try:
        with closing(ledger(data)) as known:
            count: int = known.execute("SELECT count(*) FROM images").fetchone()[0]
            return count
    except sqlite3.OperationalError:
        return 0  # it is being made


def age(folder: Path) -> None:
    then = time.time() - 3600
    for path in folder.rglob("*.png"):
        os.utime(path, (then, then))


def test_a_folder_becomes_a_batch_whose_jobs_are_called_by_their_paths(glamm, client, photos) -> None:
    run = glamm("submit", photos, "--task", "refseg", "--expression", "the dog", "--name", "dogs")
    assert run.code == 0, run.err
    (batch,) = client.batches()
    assert run.out == f"{batch.id}\n"
    assert (batch.name, batch.priority, batch.jobs) == ("dogs", "bulk", 4)
    jobs = list(client.batch_jobs(batch.id))
    assert [job.custom_id for job in jobs] == NAMES
    assert jobs[1].source == jobs[3].source
    assert len({job.source for job in jobs}) == 3
    assert client.job(jobs[0].id).request.expressions == ["the dog"]
    assert "4 jobs" in run.err


def test_the_same_is_submitted_once_and_again_if_so_asked(glamm, client, photos) -> None:
    first = glamm("submit", photos)
    second = glamm("submit", photos)
    assert (second.code, second.out) == (0, first.out)
    assert "--again" in second.err
    assert len(batches(client)) == 1
    other = glamm("submit", photos, "--priority", "interactive")
    again = glamm("submit", photos, "--again")
    assert len({first.out, other.out, again.out}) == 3
    assert glamm("submit", photos).out == again.out
    assert len(batches(client)) == 3


def test_a_batch_can_be_given_less_time_which_makes_it_another(glamm, client, photos) -> None:
    first = glamm("submit", photos)
    hasty = glamm("submit", photos, "--expires-in", 90)
    assert hasty.code == 0, hasty.err
    assert hasty.out != first.out
    batch = next(client.batches())
    assert 90 <= (batch.expires_at - batch.created_at).total_seconds() < 3600
    assert glamm("submit", photos, "--expires-in", 90).out == hasty.out
    assert glamm("submit", photos, "--expires-in", 0).code == 2


def test_a_folder_that_has_not_changed_since_its_batch_was_made_is_asked_nothing_of(glamm, client, photos) -> None:
    age(photos)
    first = glamm("submit", photos)
    image_id = client_id(client, photos)
    client.delete_image(image_id)
    assert glamm("submit", photos).out == first.out
    with pytest.raises(Refused):
        client.image(image_id)


def test_what_the_service_has_is_not_sent_and_what_was_read_is_not_read(glamm, client, photos, data) -> None:
    client.upload_image(photos / "a.png")
    age(photos)
    told = json.loads(glamm("submit", photos, "--json").out)
    assert (told["images"], told["uploaded"], told["made"]) == (4, 2, True)
    with ledger(data) as known:
        assert known.execute("SELECT count(*) FROM pictures").fetchone() == (4,)
        # Were a file read again, it would be called by its own hash and not by this one.
        known.execute("UPDATE pictures SET sha256 = ? WHERE path LIKE '%photos/b.png'", (client_id(client, photos),))
    told = json.loads(glamm("submit", photos, "--json").out)
    jobs = list(client.batch_jobs(told["batch"]["id"]))
    assert told["uploaded"] == 0
    assert jobs[0].image_id == jobs[1].image_id is not None


def client_id(client, photos: Path) -> str:
    return client.upload_image(photos / "a.png").id


def test_broken_files_are_told_by_name_and_nothing_is_submitted(glamm, client, photos) -> None:
    (photos / "empty.png").write_bytes(b"")
    (photos / "link.png").symlink_to(photos / "nowhere")
    run = glamm("submit", photos)
    assert (run.code, run.out) == (2, "")
    assert str(photos / "empty.png") in run.err
    assert str(photos / "link.png") in run.err
    assert "--on-invalid skip" in run.err
    assert batches(client) == []


def test_broken_files_are_left_out_if_so_asked(glamm, client, photos) -> None:
    (photos / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    run = glamm("submit", photos, "--on-invalid", "skip", "--json")
    assert run.code == 0, run.err
    told = json.loads(run.out)
    assert [Path(fault["file"]).name for fault in told["skipped"]] == ["b.png"]
    jobs = list(client.batch_jobs(told["batch"]["id"]))
    assert [(job.line, job.custom_id) for job in jobs] == [(1, "a.png"), (3, "more/a.png"), (4, "more/b.png")]


def test_what_the_service_refuses_of_a_manifest_is_told_by_file(glamm, client, photos) -> None:
    (photos / "more" / "a.png").write_bytes(encode(picture(64, 64)))
    run = glamm("submit", photos, "--task", "region_caption", "--box", "0,0,60,60")
    assert run.code == 2
    assert "✗ b.png: boxes" in run.err
    assert "--on-invalid skip" in run.err.splitlines()[-1]
    assert "on_invalid" not in run.err
    assert "more/a.png" not in run.err
    assert batches(client) == []
    assert glamm("submit", photos, "--task", "region_caption", "--box", "0,0,9,9").code == 0


def test_a_manifest_of_ones_own_is_submitted_with_its_files(glamm, client, photos) -> None:
    stored = client.upload_image(photos / "a.png").id
    manifest = photos / "jobs.jsonl"
    lines = [
        {"custom_id": "one", "image_id": stored, "task": "gcg"},
        {"custom_id": "two", "file": "b.png", "task": "vqa", "question": "What is this?"},
    ]
    manifest.write_text("\n\n".join(map(json.dumps, lines)))
    run = glamm("submit", manifest, "--json")
    assert run.code == 0, run.err
    jobs = list(client.batch_jobs(json.loads(run.out)["batch"]["id"]))
    assert [(job.line, job.custom_id, job.task) for job in jobs] == [(1, "one", "gcg"), (3, "two", "vqa")]
    refused = glamm("submit", manifest, "--task", "gcg")
    assert (refused.code, "--task" in refused.err) == (2, True)


@pytest.mark.parametrize("on_invalid", ["reject", "skip"])
def test_a_run_that_was_interrupted_says_so_and_is_gone_on_with(
    glamm, client, gateway, data, tmp_path, on_invalid
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for seed in range(40):
        (folder / f"{seed:02}.png").write_bytes(encode(picture(300, 300, seed=seed)))
    age(folder)
    command = ["submit", folder, "--on-invalid", on_invalid]
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", *map(str, command), "--url", gateway.url, "--data", str(data)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not stored(data):
        assert process.poll() is None
        sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    # On a slow machine it has said how far it is.
    said = [line for line in err.decode().splitlines() if not line.startswith("upload ")]
    assert said == ["Interrupted: the same command goes on from here."]
    assert batches(client) == []
    told = json.loads(glamm(*command, "--json").out)
    assert 0 < told["uploaded"] < 40
    assert told["batch"]["jobs"] == 40
    again = json.loads(glamm(*command, "--again", "--json").out)
    assert (again["uploaded"], again["batch"]["jobs"]) == (0, 40)


@pytest.fixture
def unanswered(glamm, photos, data) -> str:
    """The id of a batch that was made for a run which died before it heard of it."""
    made: str = glamm("submit", photos, "--name", "once").out
    with ledger(data) as known:
        known.execute("UPDATE requests SET batch_id = NULL")
    return made


def test_a_batch_whose_answer_was_lost_is_not_made_again(glamm, client, photos, data, unanswered) -> None:
    with ledger(data) as known:
        (key,) = known.execute("SELECT key FROM requests").fetchone()
    # Alike but for what is asked, and newer: not to be taken for it.
    assert glamm("submit", photos, "--name", "once", "--task", "caption").code == 0
    run = glamm("submit", photos, "--name", "once")
    assert run.out == unanswered
    assert len(batches(client)) == 2
    with ledger(data) as known:
        found = known.execute("SELECT key FROM requests WHERE batch_id = ?", (unanswered.strip(),)).fetchall()
    assert found == [(key,)]


def test_two_runs_at_the_same_time_make_one_batch(gateway, client, photos, data) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "services.cli", "submit", str(photos), "--url", gateway.url, "--data", str(data)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    told = [run.communicate(timeout=PATIENCE)[0].decode().strip() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert told == [str(batch) for batch in batches(client)] * 2


def test_a_batch_that_the_service_no_longer_has_is_made_again(glamm, client, photos, data) -> None:
    first = glamm("submit", photos)
    with ledger(data) as known:
        known.execute("UPDATE requests SET batch_id = '01900000-0000-7000-8000-000000000000'")
    second = glamm("submit", photos)
    assert (second.code, second.out == first.out) == (0, False)


def test_images_that_were_deleted_since_an_interrupted_run_are_sent_again(glamm, client, photos, data) -> None:
    age(photos)
    assert glamm("submit", photos).code == 0
    with ledger(data) as known:
        hashes = [sha256 for (sha256,) in known.execute("SELECT sha256 FROM images")]
        # As an interrupted run leaves it: stored, as far as is known, and not yet a batch.
        known.execute("DELETE FROM requests")
    client.delete_image(hashes[0])
    run = glamm("submit", photos, "--json")
    assert run.code == 0, run.err
    assert json.loads(run.out)["uploaded"] == 1


def test_images_go_past_the_gateway_and_are_judged_by_it_where_boxes_need_their_sizes(glamm, gateway, photos) -> None:
    age(photos)
    assert glamm("submit", photos).code == 0
    contents = gateway.backstage.contents()
    assert contents.images == 0
    assert len([key for key in contents.objects if "upload" in key]) == 3
    # Sent before, and not judged then.
    refused = glamm("submit", photos, "--task", "region_caption", "--box", "0,0,1900,900")
    assert (refused.code, refused.err.count("boxes: A box leaves the image")) == (2, 4)
    assert gateway.backstage.contents().images == 3
    again = glamm("submit", photos, "--task", "region_caption", "--box", "0,0,9,9", "--json")
    assert json.loads(again.out)["uploaded"] == 0


def test_what_has_arrived_is_not_sent_by_who_knows_nothing_of_it(glamm, photos, data) -> None:
    assert json.loads(glamm("submit", photos, "--json").out)["uploaded"] == 3
    for path in data.parent.glob("submissions.*"):
        path.unlink()
    assert json.loads(glamm("submit", photos, "--json").out)["uploaded"] == 0


def test_bytes_that_have_arrived_and_are_not_right_are_replaced_where_they_are_judged(glamm, client, photos) -> None:
    data = (photos / "a.png").read_bytes()
    described = {"sha256": sha256(data).hexdigest(), "bytes": len(data), "media_type": "image/png"}
    (expected,) = client.declare_uploads([schema.Upload.model_validate(described)]).images
    client.send(expected.upload, bytes(len(data)))
    run = glamm("submit", photos, "--task", "region_caption", "--box", "0,0,9,9", "--json")
    assert run.code == 0, run.err
    assert json.loads(run.out)["uploaded"] == 3
    assert client.image(expected.id).width == 48


def test_bytes_that_have_arrived_and_are_not_right_are_replaced_when_it_is_submitted_again(
    glamm, client, photos
) -> None:
    data = (photos / "a.png").read_bytes()
    described = {"sha256": sha256(data).hexdigest(), "bytes": len(data), "media_type": "image/png"}
    (expected,) = client.declare_uploads([schema.Upload.model_validate(described)]).images
    client.send(expected.upload, bytes(len(data)))
    assert json.loads(glamm("submit", photos, "--json").out)["uploaded"] == 2
    assert json.loads(glamm("submit", photos, "--again", "--json").out)["uploaded"] == 1
    assert client.image(expected.id).width == 48


def test_images_go_through_the_gateway_where_the_object_store_is_out_of_reach(
    command, detached: Played, photos, data
) -> None:
    run = command("submit", "--url", detached.url, "--data", data, photos)
    assert run.code == 0, run.err
    assert "through the gateway" in run.err
    assert detached.backstage.contents().images == 3


def test_a_file_that_changes_while_it_is_submitted_is_told(glamm, client, photos, data, monkeypatch) -> None:
    declare = GlammClient.declare_uploads

    def slow(self, images):
        uploads = declare.__get__(self, type(self))(images)
        (photos / "a.png").write_bytes(encode(picture(seed=9)))
        return uploads

    monkeypatch.setattr(GlammClient, "declare_uploads", slow)
    run = glamm("submit", photos)
    assert run.code == 2
    assert "a.png: It has changed" in run.err
    assert batches(client) == []


def test_a_folder_without_images_and_a_source_that_is_not_there(glamm, tmp_path) -> None:
    (tmp_path / "none").mkdir()
    assert glamm("submit", tmp_path / "none").code == 2
    missing = glamm("submit", tmp_path / "missing.png")
    assert missing.code == 2
    assert "missing.png: No such file" in missing.err


def test_submit_can_watch_to_the_end(glamm, gateway, photos) -> None:
    made = glamm("submit", photos)
    gateway.work("b.png")
    run = glamm("submit", photos, "--watch", "--json")
    assert run.code == 1
    told = json.loads(run.out)
    assert (told["batch"]["id"], told["batch"]["state"]) == (made.out.strip(), "finished")
    assert told["batch"]["counts"]["failed"] == 1
