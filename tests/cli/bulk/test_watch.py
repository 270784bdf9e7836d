"""`glamm watch`, in a terminal and elsewhere, and how it ends."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from services.cli.bulk import watching
from services.cli.client import GlammClient
from services.gateway import examples
from shared import schema
from tests.cli.conftest import PATIENCE
from tests.deploy.compose import ROOT


@pytest.fixture
def batch() -> Callable[..., schema.Batch]:
    return lambda **changes: schema.Batch.model_validate(examples.BATCH | changes)


def test_a_line_tells_how_far_a_batch_is(batch) -> None:
    assert watching.line(batch()) == "running: 44 of 1,000 jobs (4%), 3 failed, 0.73 jobs/s, 22 min left"
    paused = batch(state="paused", eta_seconds=None, invalid_lines=1)
    assert watching.line(paused) == "paused: 44 of 1,000 jobs (4%), 3 failed, 1 line left out, 0.73 jobs/s"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h 0 min"), (11130, "3 h 6 min")]
)
def test_durations_are_said_as_people_do(seconds, said) -> None:
    assert watching.duration(seconds) == said


def test_a_terminal_shows_stages_pace_and_reasons(batch, serve) -> None:
    states = [batch(), batch(state="finished", name="[b]done[/b]", progress=1.0)]
    server = serve(*((200, {}, state.model_dump_json().encode()) for state in states))
    shown = io.StringIO()
    with GlammClient(server.url) as client:
        ended = watching.watch(client, states[0].id, Console(file=shown, force_terminal=True, width=120), every=0)
    assert ended.state == "finished"
    for told in ("vision", "930", "0.73 jobs/s", "22 min left", "Unsupported media type", "[b]done[/b]"):
        assert told in shown.getvalue()


def test_at_the_width_of_most_terminals_each_part_stands_on_its_own_lines(batch) -> None:
    shown = io.StringIO()
    Console(file=shown, force_terminal=True, color_system=None, width=80).print(watching.picture(batch()))
    lines = shown.getvalue().splitlines()
    (bar,) = (n for n, line in enumerate(lines) if "━" in line)
    assert set(lines[bar].strip()) <= set("━╸╺")
    assert lines[bar + 1].split() == ["queued", "vision", "llm", "pixel", "succeeded", "failed", "canceled"]
    assert lines[bar + 1].startswith("queued")
    assert lines[bar + 2].split() == ["930", "8", "16", "2", "41", "3", "0"]


def test_elsewhere_it_says_a_line_when_there_is_news(batch, serve) -> None:
    states = [batch(), batch(), batch(progress=0.5), batch(state="finished")]
    server = serve(*((200, {}, state.model_dump_json().encode()) for state in states))
    shown = io.StringIO()
    with GlammClient(server.url) as client:
        watching.watch(client, states[0].id, Console(file=shown), every=0)
    first, last = shown.getvalue().splitlines()
    assert "running" in first
    assert "finished" in last


@pytest.mark.parametrize(("failing", "code"), [([], 0), (["b.png"], 1)])
def test_the_exit_code_tells_whether_all_succeeded(glamm, gateway, photos, failing, code) -> None:
    made = glamm("submit", photos).out.strip()
    gateway.work(*failing)
    run = glamm("watch", made, "--json")
    assert run.code == code
    assert json.loads(run.out)["state"] == "finished"
    run = glamm("watch", made)
    assert run.code == code
    assert ("object store does not answer" in run.out) == bool(failing)


def test_an_interrupt_leaves_the_batch_running_and_says_so(glamm, client, gateway, photos) -> None:
    made = glamm("submit", photos).out.strip()
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-m", "services.cli", "watch", made, "--url", gateway.url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "0 of 4 jobs" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert f"glamm cancel {made}" in err
    assert client.batch(made).state == "running"


def test_a_batch_that_is_not_there_is_the_callers_mistake(glamm) -> None:
    run = glamm("watch", "01900000-0000-7000-8000-000000000000")
    assert (run.code, len(run.err.splitlines())) == (2, 1)
