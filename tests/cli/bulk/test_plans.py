"""What is found in folders, and what becomes of a manifest of one's own."""

import json
from pathlib import Path

import pytest

from services.cli.bulk import plans
from services.cli.bulk.plans import OwnManifest, SameAsk
from shared.errors import InvalidInput
from shared.tasks import Ask, Task


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def read(lines: list[bytes]) -> list[object]:
    return [json.loads(line) if line else None for line in lines]


def test_a_folder_is_read_to_its_depths_in_one_order(tmp_path) -> None:
    touched(tmp_path, "b.PNG", "a/z.jpeg", "a/b/c.webp", "a.jpg", "notes.txt", ".hidden.png", ".git/x.png", "a/._z.jpg")
    found = plans.find([tmp_path])
    assert [image.name for image in found] == ["a.jpg", "a/b/c.webp", "a/z.jpeg", "b.PNG"]
    assert all(image.path == tmp_path / image.name for image in found)


def test_files_are_called_as_they_were_given_whatever_they_end_with(tmp_path, monkeypatch) -> None:
    touched(tmp_path, "a.png", "scan", "more/b.png")
    monkeypatch.chdir(tmp_path)
    found = plans.find([Path("scan"), Path("more/b.png"), Path("a.png"), Path("a.png")])
    assert [image.name for image in found] == ["scan", "more/b.png", "a.png"]


def test_two_images_of_one_name_are_refused_with_both(tmp_path) -> None:
    touched(tmp_path, "x/a.png", "y/a.png")
    with pytest.raises(InvalidInput, match=r"x/a.png and .*y/a.png"):
        plans.find([tmp_path / "x", tmp_path / "y"])


def test_a_folder_without_images_is_told(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="holds no PNG"):
        plans.find([touched(tmp_path, "a.txt")])


def test_the_same_is_asked_of_each_image_and_a_broken_one_leaves_its_line_empty(tmp_path) -> None:
    touched(tmp_path, "a.png", "b.png", "c.png")
    plan = SameAsk(plans.find([tmp_path]), Ask(Task.REFSEG, expressions=("the dog",)))
    ids = {tmp_path / "a.png": "1" * 64, tmp_path / "c.png": "2" * 64}
    lines = list(plan.lines(ids))
    assert read(lines) == [
        {"custom_id": "a.png", "image_id": "1" * 64, "task": "refseg", "expressions": ["the dog"]},
        None,
        {"custom_id": "c.png", "image_id": "2" * 64, "task": "refseg", "expressions": ["the dog"]},
    ]
    assert plan.name(3) == "c.png"


def test_a_manifest_of_ones_own_names_files_beside_it_and_is_else_left_as_it_is(tmp_path) -> None:
    manifest = tmp_path / "jobs.jsonl"
    others = [b'{"custom_id":"x", "image_id":"' + b"0" * 64 + b'","task":"gcg"}', b"no JSON", b'["file"]', b""]
    named = {"file": "photos/a.png", "task": "vqa", "question": "Why?"}
    manifest.write_bytes(b"\r\n".join([*others, json.dumps(named).encode(), b'{"file":"photos/b.png","task":"gcg"}']))
    plan = plans.own_manifest([manifest])
    assert plan == OwnManifest(manifest)
    assert plan.files == [tmp_path / "photos/a.png", tmp_path / "photos/b.png"]
    lines = list(plan.lines({tmp_path / "photos/a.png": "1" * 64}))
    assert lines[:4] == others
    assert read(lines[4:]) == [{"image_id": "1" * 64, "task": "vqa", "question": "Why?"}, None]
    assert plan.name(5) == "line 5"


@pytest.mark.parametrize("name", [3, "", "a\0b"])
def test_a_file_that_has_no_name_is_told_by_its_line(tmp_path, name) -> None:
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text("\n" + json.dumps({"file": name, "task": "gcg"}))
    with pytest.raises(InvalidInput) as caught:
        OwnManifest(manifest).files  # noqa: B018
    assert caught.value.field == "line 2: file"


@pytest.mark.parametrize("other", ["image_id", "s3_uri"])
def test_a_line_that_names_its_image_twice_is_told(tmp_path, other) -> None:
    manifest = tmp_path / "jobs.jsonl"
    lines = [{"file": "a.png", "task": "gcg", other: None}, {"file": "a.png", "task": "gcg", other: "x"}]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(InvalidInput, match=other) as caught:
        OwnManifest(manifest).files  # noqa: B018
    assert caught.value.field == "line 2: file"


def test_a_field_that_says_nothing_leaves_the_image_to_the_file(tmp_path) -> None:
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(json.dumps({"file": "a.png", "image_id": None, "task": "gcg"}))
    assert read(list(OwnManifest(manifest).lines({tmp_path / "a.png": "1" * 64}))) == [
        {"image_id": "1" * 64, "task": "gcg"}
    ]


def test_a_manifest_is_submitted_alone_and_must_be_there(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="there is more"):
        plans.own_manifest([tmp_path / "jobs.jsonl", tmp_path])
    assert plans.own_manifest([tmp_path]) is None
    with pytest.raises(InvalidInput, match="cannot be read"):
        OwnManifest(tmp_path / "jobs.jsonl").files  # noqa: B018


def test_a_field_that_comes_twice_is_told_by_its_line(tmp_path) -> None:
    touched(tmp_path, "a.png")
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text('{"file": "a.png", "task": "gcg"}\n{"file": "a.png", "task": "gcg", "task": "caption"}\n')
    with pytest.raises(InvalidInput, match="'task' more than once") as raised:
        list(OwnManifest(manifest).lines({tmp_path / "a.png": "1" * 64}))
    assert raised.value.field == "line 2: task"


def test_what_is_no_unicode_is_left_for_the_service_to_tell_of(tmp_path) -> None:
    touched(tmp_path, "a.png")
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(r'{"file": "a.png", "task": "vqa", "question": "What\ud800?"}' + "\n")
    (line,) = OwnManifest(manifest).lines({tmp_path / "a.png": "1" * 64})
    assert rb"\ud800" in line
