"""A process's log: one event a line, whoever wrote it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = """
import logging, threading, uuid, warnings
logging.getLogger("uvicorn.error").addHandler(logging.StreamHandler())
from shared import logs
from shared.states import Stage

log = logs.get_logger("workers.vision")
logs.configure("worker-vision")
log.info("ready", seconds=1.5, path=__import__("pathlib").Path("/tmp"))
log.debug("too much")
with logs.job_context(uuid.UUID(int=7), Stage.VISION):
    logging.getLogger("some.library").warning("odd: %s\\nsecond line", 3)
    try:
        raise ValueError("secret" + "less")
    except ValueError:
        log.exception("failed", attempt=2)
logging.getLogger("uvicorn.error").info("started", extra={"color_message": "started in colour"})
logging.getLogger("httpx").info("GET / 200")
warnings.warn("old")
thread = threading.Thread(target=lambda: 1 / 0, name="beat")
thread.start()
thread.join()
raise RuntimeError("the end")
"""


def run(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_every_event_is_a_line_of_json() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in run(GLAMM_LOG_FORMAT="json")]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "ready"),
        ("warning", "odd: 3\nsecond line"),
        ("error", "failed"),
        ("info", "started"),
        ("warning", "<string>:19: UserWarning: old"),
        ("critical", "exception.uncaught"),
        ("critical", "exception.uncaught"),
    ]
    assert {line["process"] for line in lines} == {"worker-vision"}
    assert all(line["timestamp"].endswith("Z") and line["pid"] and line["logger"] for line in lines)
    assert (lines[0]["seconds"], lines[0]["path"]) == (1.5, "/tmp")
    job = {"job_id": "00000000-0000-0000-0000-000000000007", "stage": "vision"}
    assert [job.items() <= line.items() for line in lines] == [False, True, True, False, False, False, False]
    assert "ValueError: secretless" in lines[2]["exception"]
    assert (lines[-2]["of_thread"], "ZeroDivisionError" in lines[-2]["exception"]) == ("beat", True)
    assert "RuntimeError: the end" in lines[-1]["exception"]


def test_every_event_is_called_alike() -> None:
    """noun.verb, so that whoever reads the log can tell events from libraries' messages, and guess their names."""
    called = re.compile(r"\blog\.(?:debug|info|warning|error|exception|critical)\(\s*\"([^\"]*)\"")
    root = Path(__file__).parents[2]
    sources = [path for folder in ("services", "shared", "workers") for path in (root / folder).rglob("*.py")]
    events = {event for path in sources for event in called.findall(path.read_text())}
    assert len(events) > 50
    assert [event for event in sorted(events) if not re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", event)] == []


def test_the_level_is_a_setting() -> None:
    events = [json.loads(line)["event"] for line in run(GLAMM_LOG_FORMAT="json", GLAMM_LOG_LEVEL="ERROR")]
    assert events == ["failed", "exception.uncaught", "exception.uncaught"]


def test_the_console_form_shows_errors_without_their_variables() -> None:
    lines = run(GLAMM_LOG_FORMAT="console")
    assert any("ready" in line and "seconds=1.5" in line for line in lines)
    assert "ValueError: secretless" in lines
    assert not any("locals" in line for line in lines)
