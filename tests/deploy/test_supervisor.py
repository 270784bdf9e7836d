"""The supervisor over small processes: order, restarts, and an end without leftovers."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.embedded.child import Command
from deploy.embedded.errors import StartError
from deploy.embedded.supervisor import Supervisor
from deploy.embedded.unit import Unit

from .conftest import Runner, eventually, processes_of

TIDY = """
import pathlib, signal, sys, time
ended, ready = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
def end(number, frame):
    with ended.open("a") as file: file.write(sys.argv[3] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
ready.touch()
while True: time.sleep(0.1)  # pause() would sleep on where the signal came just before it
"""

STUBBORN = TIDY.replace("signal.signal(signal.SIGTERM, end)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")


class Script(Unit):
    """A program that makes a file when it is ready."""

    stop_seconds = 20.0

    def __init__(self, name: str, folder: Path, program: str = TIDY) -> None:
        super().__init__(name, folder / f"{name}.log")
        self.program = program
        self.ended = folder / "ended"
        self.ready = folder / f"{name}.ready"

    def prepare(self) -> None:
        self.ready.unlink(missing_ok=True)

    def command(self) -> Command:
        return Command([sys.executable, "-c", self.program, str(self.ended), str(self.ready), self.name])

    def probe(self) -> bool:
        return self.ready.exists()


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def supervisor(reports: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(reports.append)
    yield supervisor
    supervisor.stop()


def test_units_end_in_the_reverse_of_their_order(supervisor: Supervisor, tmp_path: Path) -> None:
    first, second = Script("first", tmp_path), Script("second", tmp_path)
    supervisor.start(first)
    supervisor.start(second)
    assert len(processes_of(tmp_path)) == 2
    supervisor.stop()
    assert (tmp_path / "ended").read_text().split() == ["second", "first"]
    assert not processes_of(tmp_path)


def test_a_killed_process_is_started_again(supervisor: Supervisor, tmp_path: Path, reports: list[str]) -> None:
    unit, other = Script("unit", tmp_path), Script("other", tmp_path)
    supervisor.start(unit, other)
    killed, untouched = unit.pid, other.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: "unit runs again" in reports)
    assert reports == ["unit was ended by SIGKILL; starting it again in 0.5 s", "unit runs again"]
    assert unit.alive
    assert unit.pid != killed
    assert other.pid == untouched


def test_a_process_that_keeps_ending_is_started_with_growing_delays(
    supervisor: Supervisor, tmp_path: Path, reports: list[str]
) -> None:
    unit = Script("unit", tmp_path)
    supervisor.start(unit)
    unit.program = "import sys; sys.exit(3)"
    assert unit.pid is not None
    os.kill(unit.pid, signal.SIGTERM)
    eventually(lambda: "unit ended with code 3; starting it again in 2 s" in reports)
    starts = [report.rpartition("; ")[2] for report in reports if "starting it again" in report]
    assert starts == [f"starting it again in {delay} s" for delay in ("0.5", "1", "2")]
    assert any(report.startswith("unit did not start: it ended with code 3. ") for report in reports)


def test_a_process_that_ignores_the_request_to_end_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    unit = Script("unit", tmp_path, STUBBORN)
    unit.stop_seconds = 0.2
    supervisor.start(unit)
    supervisor.stop()
    assert unit.exit_code == -signal.SIGKILL
    assert not processes_of(tmp_path)


def test_a_process_that_ends_while_it_starts_is_an_error_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    fine, broken = Script("fine", tmp_path), Script("broken", tmp_path, "raise SystemExit('no such thing')")
    with pytest.raises(StartError, match=r"^broken did not start: it ended with code 1\. .*such thing\.$") as caught:
        supervisor.start(fine, broken)
    assert caught.value.remedy == f"Read {tmp_path / 'broken.log'}."
    supervisor.stop()
    assert not processes_of(tmp_path)


def test_of_an_event_its_error_and_remedy_are_told(supervisor: Supervisor, tmp_path: Path) -> None:
    event = {"event": "process.not_started", "error": "There is no such thing.", "remedy": "Name another."}
    broken = Script("broken", tmp_path, f"raise SystemExit({json.dumps(event)!r})")
    with pytest.raises(StartError) as caught:
        supervisor.start(broken)
    told = "Its log ends with: There is no such thing. Name another."
    assert caught.value.detail == f"broken did not start: it ended with code 1. {told}"


def test_a_supervisor_that_stops_does_not_start_again_what_ended(
    supervisor: Supervisor, tmp_path: Path, reports: list[str]
) -> None:
    unit = Script("unit", tmp_path)
    supervisor.start(unit)
    assert unit.pid is not None
    os.kill(unit.pid, signal.SIGKILL)
    eventually(lambda: reports)
    supervisor.stop()
    assert not processes_of(tmp_path)
    assert reports == ["unit was ended by SIGKILL; starting it again in 0.5 s"]


SERVERS = """
import os, pathlib, threading, time
from deploy.embedded.postgres import PostgresServer
from deploy.embedded.redis import RedisServer
from deploy.embedded.s3 import S3Server
from deploy.embedded.supervisor import Supervisor

folder = pathlib.Path(os.environ["TEST_FOLDER"])
units = RedisServer.broker(folder / "broker"), S3Server(folder / "objects"), PostgresServer(folder / "postgres")
starter = threading.Thread(target=Supervisor(print).start, args=units)
starter.start()
starter.join()
print("up")
time.sleep(600)
"""


def test_servers_end_when_their_parent_is_killed_and_start_again_after_it(run: Callable[[str], Runner]) -> None:
    """They were started by a thread that has long ended, which the kernel takes for the parent unless cared for."""
    runner = run(SERVERS)
    eventually(lambda: runner.says("up"))
    servers = processes_of(runner.folder)
    assert {"valkey-server", "weed", "postgres"} <= {Path(line.split()[0]).name for line in servers.values()}
    runner.end_with(signal.SIGKILL)
    eventually(runner.nothing_is_left)

    again = run(SERVERS)
    eventually(lambda: again.says("up"))
    again.end_with(signal.SIGKILL)
    eventually(runner.nothing_is_left)
