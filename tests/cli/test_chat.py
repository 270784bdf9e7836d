"""`glamm chat` on a gateway whose scheduler and workers the test plays, from options, from a pipe and in a terminal."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from uuid import UUID

import psutil
import pytest
from PIL import Image
from sqlalchemy import select as sql_select

from services.cli.client import GlammClient
from shared import palette, tables
from shared.errors import Unavailable
from shared.states import Stage
from tests.cli.conftest import PATIENCE, PHRASE, RESULT, Played, Run
from tests.deploy.compose import ROOT
from tests.gateway.conftest import encode, picture

ANSWER = f"{PHRASE.text}¹."
NOWHERE = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def worked(gateway: Played) -> Iterator[Played]:
    """Its turns are worked off as they come; a question with `fail` in it does."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            for job_id, _ in gateway.queued():
                if "fail" in question_of(job_id):
                    run = gateway.backstage.start(job_id, Stage.VISION)
                    gateway.backstage.fail(run, Unavailable("object store").to_problem())
                else:
                    gateway.backstage.succeed(job_id, RESULT)

    def question_of(job_id: UUID) -> str:
        with gateway.backstage.engine.connect() as connection:
            statement = sql_select(tables.jobs.c.inputs).where(tables.jobs.c.id == job_id)
            return str(connection.execute(statement).scalar_one()["prompt"])

    thread = threading.Thread(target=work, name="workers")
    thread.start()
    yield gateway
    over.set()
    thread.join()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(encode(picture()))
    return path


@pytest.fixture
def chat(command: Callable[..., Run], worked: Played, tmp_path: Path) -> Callable[..., Run]:
    return lambda *arguments: command("chat", "--url", worked.url, "--data", tmp_path / "up", *arguments)


@pytest.fixture
def client(worked: Played) -> Iterator[GlammClient]:
    with GlammClient(worked.url) as client:
        yield client


def test_questions_are_asked_one_after_another_and_their_overlays_kept(chat, client, photo, tmp_path) -> None:
    run = chat(photo, "--question", "What is this?", "--question", "Where is [it]?", "--out", tmp_path / "out")
    assert run.code == 0, run.err
    second, first = client.jobs()
    assert (first.turn, second.turn) == (1, 2)
    assert [turn.request.question for turn in (first, second)] == ["What is this?", "Where is [it]?"]
    lines = [line.strip() for line in run.out.splitlines()]
    assert [line for line in lines if line.startswith((">", PHRASE.text, "→"))] == [
        *("> What is this?", ANSWER, f"→ {tmp_path / 'out' / f'{first.id}.overlay.png'}"),
        *("> Where is [it]?", ANSWER, f"→ {tmp_path / 'out' / f'{second.id}.overlay.png'}"),
    ]
    assert all(Image.open(path).mode == "RGB" for path in (tmp_path / "out").iterdir())
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert first.links.conversation.rpartition("/")[2] in run.err


def test_a_conversation_goes_on_with_regions_and_as_json(chat, client, photo) -> None:
    begun = json.loads(chat(photo, "--question", "What is this?", "--json").out)
    conversation = begun["links"]["conversation"].rpartition("/")[2]
    region = ("--question", "What is <box1>?", "--box", "1,2,20,30")
    run = chat("--conversation", conversation, *region, "--question", "And beside it?", "--json")
    assert (run.code, run.err) == (0, "")
    turns = [json.loads(line) for line in run.out.splitlines()]
    assert [(turn["turn"], turn["state"], turn["request"]["boxes"]) for turn in turns] == [
        (2, "succeeded", [[1, 2, 20, 30]]),
        (3, "succeeded", [[1, 2, 20, 30]]),
    ]
    assert len(list(client.turns(conversation))) == 3


def test_questions_can_be_piped_in(chat, photo, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is this?\n\n  \nWhere is it?"))
    run = chat(photo, "--json")
    assert run.code == 0, run.err
    turns = [json.loads(line) for line in run.out.splitlines()]
    assert [turn["request"]["question"] for turn in turns] == ["What is this?", "Where is it?"]


def test_what_is_piped_in_and_is_no_text_is_told(chat, photo, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8"))
    run = chat(photo)
    assert (run.code, run.out) == (2, "")
    assert "UTF-8" in run.err.splitlines()[-1]


def test_a_script_stops_at_a_question_without_an_answer(chat, client, photo) -> None:
    run = chat(photo, "--question", "What fails?", "--question", "What is this?")
    assert (run.code, run.out) == (1, "> What fails?\n")
    assert "object store does not answer" in run.err
    (turn,) = client.jobs()
    conversation = turn.links.conversation.rpartition("/")[2]
    refused = chat("--conversation", conversation, "--question", "An <image>?", "--question", "What is this?", "--json")
    assert (refused.code, refused.out, len(refused.err.splitlines())) == (2, "", 1)
    assert "<image>" in refused.err
    assert len(list(client.jobs())) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("gone.png",), "gone.png cannot be read"),
        ((".",), "cannot be read"),
        (("--conversation", NOWHERE), NOWHERE),
    ],
)
def test_what_cannot_be_talked_about_is_one_line_and_exit_code_2(chat, arguments, told: str) -> None:
    run = chat(*arguments, "--question", "What is this?")
    assert (run.code, run.out, len(run.err.splitlines())) == (2, "", 1)
    assert told in run.err


class Terminal:
    """`glamm` in a terminal of its own."""

    def __init__(self, *arguments: object) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.cli", *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self._seen = ""

    def until(self, text: str) -> str:
        """What is shown up to that text, from behind the one before."""
        deadline = monotonic() + PATIENCE
        while text not in self._seen:
            assert select.select([self._master], [], [], max(0, deadline - monotonic()))[0], self._seen
            self._seen += os.read(self._master, 65536).decode(errors="replace")
        before, _, self._seen = self._seen.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(worked: Played) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(*arguments: object) -> Terminal:
        opened.append(Terminal(*arguments, "--url", worked.url))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_in_a_terminal_one_asks_until_ctrl_d(terminal, client, photo) -> None:
    shown = terminal("chat", photo)
    shown.until("--conversation")
    for question, told in (("An <image>?", "<image>, which steers"), ("What fails?", "does not answer")):
        shown.until("> ")
        shown.type(f"{question}\n")
        shown.until(told)
    shown.until("> ")
    shown.type("What is this?\n")
    red, green, blue = palette.color(0)
    assert f"38;2;{red};{green};{blue}m" in shown.until(ANSWER[:-1])
    shown.until("> ")
    shown.type("\x04")
    assert shown.process.wait(PATIENCE) == 0
    assert [turn.state for turn in client.jobs()] == ["succeeded", "failed"]


def test_an_interrupt_at_the_prompt_is_an_exit_code(terminal, photo) -> None:
    shown = terminal("chat", photo)
    shown.until("> ")
    # What comes just before it waits for a line would be heard with that line.
    while psutil.Process(shown.process.pid).status() != psutil.STATUS_SLEEPING:
        sleep(0.05)
    shown.process.send_signal(signal.SIGINT)
    assert shown.process.wait(PATIENCE) == 130
