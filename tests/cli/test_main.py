"""The command where no service is needed: how it is spoken to, and how it answers a mistake."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from services.cli import locate
from services.cli.locate import Address
from shared.errors import InvalidInput
from shared.version import VERSION
from tests.cli.conftest import PATIENCE
from tests.deploy.compose import ROOT


def test_version_is_the_projects(glamm):
    import tomllib

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert glamm("version") == (0, f"glamm {VERSION}\n", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["annotate"], "IMAGE"),
        (["annotate", "a.png", "--task", "paint"], "--task"),
        (["submit", "photos", "--task", "paint"], "region_caption"),
        (["annotate", "a.png", "--task", "vqa", "--question", "Why?", "--box", "1,2,3"], "--box"),
        (["annotate", "a.png", "--task", "region_caption", "--box", "1,2,3,x"], "--box"),
        (["annotate", "a.png", "--box", "1,2,3,4"], "--box"),
        (["annotate", "a.png", "--task", "refseg"], "--expression"),
        (["annotate", "a.png", "--task", "refseg", "--prompt", "a dog"], "--prompt"),
        (["annotate", "a.png", "--task", "vqa"], "--question"),
        (["annotate", "a.png", "--task", "ground"], "--caption"),
        (["annotate", "a.png", "--task", "region_caption"], "--box"),
        (["annotate", "a.png", "--url", "localhost:8000"], "--url"),
        (["annotate", "a.png", "--url", "http://[::1"], "url"),
        (["annotate", "a.png", "--no-such-option"], "--no-such-option"),
        (["up", "--port", "70000"], "--port"),
        (["chat"], "IMAGE"),
        (["chat", "a.png", "--conversation", "01900000-0000-7000-8000-000000000000"], "--conversation"),
        (["chat", "a.png", "--box", "1,2,3"], "--box"),
        (["webhooks", "add", "https://hooks.example/", "--event", "job.lost"], "--event"),
        (["webhooks", "change", "01900000-0000-7000-8000-000000000000"], "change"),
        (["paint"], "paint"),
        (["annotate", "photo.png", "--task", "vqa", "--question", "caf\udce9"], "--question: It is no text in UTF-8."),
        (["annotate", "photo.png", "--max-new-tokens", str(2**31)], "--max-new-tokens"),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_exit_code_2(glamm, arguments, told):
    code, out, err = glamm(*arguments)
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert told in line


def test_without_a_service_the_remedy_is_told(glamm, tmp_path):
    code, _, err = glamm("annotate", "a.png", "--data", str(tmp_path))
    assert code == 2
    assert "glamm up" in err


def test_a_service_that_does_not_answer_is_no_fault_of_the_input(glamm, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    code, _, err = glamm("annotate", "a.png", "--url", url)
    assert code == 1
    assert url in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("status", "exit_code"), [(401, 2), (404, 2), (409, 2), (429, 1)])
def test_the_exit_code_tells_whether_something_is_to_be_changed(glamm, serve, status, exit_code):
    problem = {"type": "x", "title": "No", "status": status, "detail": "Not like this."}
    server = serve((status, {"content-type": "application/json"}, json.dumps(problem).encode()))
    assert glamm("pause", "01900000-0000-7000-8000-000000000000", "--url", server.url) == (
        exit_code,
        "",
        "glamm: Not like this.\n",
    )


def test_migrate_and_bucket_set_up_what_is_missing_and_may_be_repeated(
    glamm, monkeypatch, empty_database_url, object_settings
):
    from shared.settings import get_settings

    monkeypatch.setenv("GLAMM_DATABASE_URL", empty_database_url)
    for name, value in object_settings.items():
        monkeypatch.setenv(f"GLAMM_{name.upper()}", value)
    get_settings.cache_clear()
    try:
        for command in ("migrate", "bucket", "migrate", "bucket"):
            code, _, err = glamm(command)
            assert (code, err) == (0, "")
    finally:
        get_settings.cache_clear()


def run_apart(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_database_that_is_away_is_one_line():
    ended = run_apart("migrate", GLAMM_DATABASE_URL="postgresql+psycopg://glamm:x@127.0.0.1:1/glamm")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "GLAMM_DATABASE_URL" in line


def test_a_wrong_setting_is_one_line_that_names_its_variable():
    ended = run_apart("migrate", GLAMM_DATABASE_URL="mysql://x")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "GLAMM_DATABASE_URL" in line


def test_the_command_starts_without_what_it_does_not_need():
    code = (
        "import sys; sys.argv = ['glamm', 'version']\n"
        "from services.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'sqlalchemy', 'celery', 'numpy', 'fastapi'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def write_state(folder: Path, **state: object) -> Path:
    (folder / "stack.json").write_text(json.dumps(state))
    return folder


def test_the_stack_of_a_data_folder_is_found_while_its_process_lives(tmp_path, monkeypatch):
    monkeypatch.delenv("GLAMM_URL", raising=False)
    data = write_state(tmp_path, pid=os.getpid(), url="http://127.0.0.1:1234")
    assert locate.address(None, None, data) == Address("http://127.0.0.1:1234", None)
    assert locate.address("http://other:1/", None, data) == Address("http://other:1", None)
    monkeypatch.setenv("GLAMM_URL", "https://elsewhere")
    assert locate.address(None, None, data).url == "https://elsewhere"


def test_the_key_of_a_stack_goes_to_that_stack_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("GLAMM_URL", raising=False)
    monkeypatch.delenv("GLAMM_API_KEY", raising=False)
    data = write_state(tmp_path, pid=os.getpid(), url="http://127.0.0.1:1234")
    (data / "api-key").write_text("its-own\n")
    assert locate.address(None, None, data).api_key == "its-own"
    assert locate.address("http://127.0.0.1:1234/", None, data).api_key == "its-own"
    assert locate.address("http://other:1", None, data).api_key is None
    monkeypatch.setenv("GLAMM_API_KEY", "from-outside")
    assert locate.address(None, None, data).api_key == "from-outside"
    assert locate.address(None, "named", data).api_key == "named"
    with pytest.raises(InvalidInput, match="characters"):
        locate.address(None, "näme\n", data)


@pytest.mark.parametrize("state", [{"pid": 2**22 + 1, "url": "http://x"}, {"pid": 1}, {"pid": "x", "url": 3}])
def test_what_a_dead_stack_left_behind_is_not_taken_for_a_live_one(tmp_path, monkeypatch, state):
    monkeypatch.delenv("GLAMM_URL", raising=False)
    with pytest.raises(InvalidInput, match="No service runs"):
        locate.address(None, None, write_state(tmp_path, **state))


def test_an_interrupt_ends_annotate_at_once_even_while_the_service_keeps_it_waiting(serve, tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"never looked at")
    server = serve((200, {}, b'{"status": "ok"}'), "hang")
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "annotate", str(picture), "--url", server.url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "POST /images" not in server.requests:
        assert process.poll() is None
        sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err == ""
