"""`glamm up` with a real stack behind it, and what is done with it: the client, `annotate`, `ready`, and the end."""

import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from services.cli.client import Refused
from shared import masks
from shared.masks import Rle
from shared.schema import to_ask
from shared.tasks import Ask, Task

from .conftest import PATIENCE, Run


@pytest.fixture
def glamm(on_service) -> Callable[..., Run]:
    return on_service


def test_the_client_takes_an_image_through_to_its_pictures(client, picture):
    stored = client.upload_image(picture.read_bytes())
    assert (stored.width, stored.height) == (160, 120)
    assert client.upload_image(picture.read_bytes()).id == stored.id

    states = []
    created = client.create_job(stored.id)
    job = client.wait_for(created.id, timeout=PATIENCE, every=1, seen=lambda view: states.append(view.state))

    assert job.state == "succeeded", job.error
    assert states[-1] == "succeeded"
    assert job.result is not None
    overlay = Image.open(io.BytesIO(client.overlay_png(job.id)))
    assert overlay.width == 768
    assert len(job.result.phrases) > 0
    for phrase in job.result.phrases:
        drawn = np.asarray(Image.open(io.BytesIO(client.mask_png(job.id, phrase.n)))) > 0
        height, width = phrase.mask.size
        np.testing.assert_array_equal(drawn, masks.decode(Rle(height, width, phrase.mask.counts)))


def test_the_client_asks_about_a_region(client, picture):
    stored = client.upload_image(picture.read_bytes())
    ask = Ask(Task.REGION_CAPTION, boxes=((40, 30, 110, 100),))
    created = client.create_job(stored.id, ask)
    job = client.wait_for(created.id, timeout=PATIENCE)
    assert job.state == "succeeded", job.error
    assert to_ask(job.request) == ask


def test_the_client_holds_a_conversation_and_ends_it_with_its_image(client):
    file = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(file, "PNG")
    stored = client.upload_image(file.getvalue())
    talk = client.begin_conversation(stored.id)
    first = client.wait_for(client.take_turn(talk.id, Ask(Task.CAPTION)).id, timeout=PATIENCE)
    question = Ask(Task.VQA, "What is <box1>?", ((0, 0, 50, 50),))
    second = client.wait_for(client.take_turn(talk.id, question).id, timeout=PATIENCE)
    assert (first.turn, second.turn) == (1, 2)
    assert [turn.stages[0].cached for turn in (first, second)] == [False, True]
    assert client.conversation(talk.id).turns == [f"/jobs/{first.id}", f"/jobs/{second.id}"]
    client.delete_image(stored.id)
    with pytest.raises(Refused, match="deleted"):
        client.take_turn(talk.id, question)


def test_the_client_raises_what_the_service_refuses(client):
    with pytest.raises(Refused) as caught:
        client.upload_image(b"no image")
    assert caught.value.blames_the_request
    with pytest.raises(Refused, match="no image"):
        client.create_job("0" * 64)


def test_annotate_prints_each_answer_and_writes_its_files(glamm, picture, tmp_path):
    other = tmp_path / "other" / "picture.png"
    other.parent.mkdir()
    Image.open(picture).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    out = tmp_path / "out"

    run = glamm("annotate", picture, other, "--out", out)

    assert run.code == 0, run.err
    assert str(picture) in run.out
    assert "vision" in run.out
    names = {"picture.overlay.png", "picture.json", "picture-2.overlay.png", "picture-2.json"}
    assert {path.name for path in out.iterdir()} == names
    for name in ("picture", "picture-2"):
        assert Image.open(out / f"{name}.overlay.png").mode == "RGB"
        assert json.loads((out / f"{name}.json").read_text())["state"] == "succeeded"


def test_annotate_can_print_json_alone(glamm, picture):
    run = glamm("annotate", picture, "--json", "--task", "refseg", "--expression", "the red ball")
    assert run.code == 0, run.err
    (line,) = run.out.splitlines()
    job = json.loads(line)
    assert (job["task"], job["state"], job["priority"]) == ("refseg", "succeeded", "interactive")
    assert [answer["expression"] for answer in job["result"]["answers"]] == ["the red ball"]


def test_answers_can_be_cut_short(glamm, picture):
    run = glamm("annotate", picture, "--max-new-tokens", "4", "--json")
    assert run.code == 0, run.err
    job = json.loads(run.out)
    assert job["request"]["max_new_tokens"] == 4
    assert 1 <= len(job["result"]["text"].split()) <= 4
    run = glamm("annotate", picture, "--task", "refseg", "--expression", "the ball", "--max-new-tokens", "4")
    assert (run.code, run.out) == (2, "")
    assert "--max-new-tokens" in run.err


def test_chat_asks_the_model_turn_by_turn(glamm, picture, tmp_path):
    asked = ("--question", "What is this?", "--question", "What is <box1>?", "--box", "40,30,110,100")
    run = glamm("chat", picture, *asked, "--json", "--out", tmp_path / "out")
    assert run.code == 0, run.err
    first, second = map(json.loads, run.out.splitlines())
    assert (first["turn"], second["turn"], second["stages"][0]["cached"]) == (1, 2, True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{job['id']}.overlay.png" for job in (first, second)
    }


def test_a_stack_is_found_by_its_variable_too(glamm, picture, service, monkeypatch):
    monkeypatch.setenv("GLAMM_URL", service.url)
    monkeypatch.setenv("GLAMM_API_KEY", service.api_key)
    run = glamm("annotate", picture, "--data", picture.parent / "nowhere", "--json")
    assert run.code == 0, run.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "ground", "--caption", "a dog", "--phrase", "a cat"], "phrases[0]"),
        (["--prompt", " "], "prompt"),
        (["--prompt", "<image>"], "<image>"),
        (["--task", "region_caption", "--box", "0,0,9999,10"], "boxes[0]"),
        (["--task", "region_caption", "--box", "5,5,5,10"], "boxes[0]"),
    ],
)
def test_what_the_service_refuses_is_one_line_and_exit_code_2(glamm, picture, arguments, told):
    run = glamm("annotate", picture, *arguments)
    assert run.code == 2
    assert run.out == ""
    (line,) = run.err.splitlines()
    assert told in line
    assert str(picture) in line


def test_a_bad_file_among_good_ones_spoils_none_of_them(glamm, picture, tmp_path):
    bad, gone = tmp_path / "bad.png", tmp_path / "gone.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    run = glamm("annotate", bad, picture, gone, "--out", tmp_path / "out")
    assert run.code == 2
    assert len(run.err.splitlines()) == 2
    assert (tmp_path / "out" / "picture.overlay.png").exists()


def test_a_folder_becomes_a_dataset(glamm, picture, tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.open(picture).save(folder / "a.png")
    Image.open(picture).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(folder / "more" / "b.jpg")

    run = glamm("submit", folder, "--name", "photos", "--watch")
    assert run.code == 0, run.err
    batch = run.out.strip()
    assert "2 of 2 jobs" in run.err
    assert glamm("results", batch, "--out", tmp_path / "out").code == 0
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == ["a.png", "more/b.jpg"]
    assert (tmp_path / "out" / "errors.jsonl").read_text() == ""
    shown = glamm("show", lines[1]["id"], "--out", tmp_path / "out")
    assert "more/b.jpg" in shown.out
    assert (tmp_path / "out" / f"{lines[1]['id']}.overlay.png").exists()
    assert batch in glamm("ps").out


def test_ready_says_so(glamm, service):
    run = glamm("ready")
    assert (run.code, run.out) == (0, f"{service.url} is ready\n")
    assert json.loads(glamm("ready", "--json").out)["status"] == "ready"


def test_a_second_stack_on_the_same_data_is_refused(glamm, service):
    run = glamm("up")
    assert run.code != 0
    assert service.url in run.err
