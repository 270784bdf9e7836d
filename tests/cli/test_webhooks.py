"""`glamm webhooks` on a gateway whose scheduler the test plays."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.webhooks import deliveries
from shared.webhooks.deliveries import Tried
from shared.webhooks.events import EventType
from tests.cli.conftest import Played, Run

HOOK = "https://1.1.1.1/hook"
NOWHERE = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def webhooks(command: Callable[..., Run], gateway: Played, tmp_path: Path) -> Callable[..., Run]:
    return lambda name, *arguments: command("webhooks", name, "--url", gateway.url, "--data", tmp_path, *arguments)


@pytest.fixture
def told(webhooks: Callable[..., Run]) -> Callable[..., Any]:
    """What a command tells as JSON."""

    def run(name: str, *arguments: object) -> Any:
        ended = webhooks(name, *arguments, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    return run


def try_next(gateway: Played, status: int | None, error: str | None, said: str) -> None:
    """What the scheduler does of itself with a delivery that is due."""
    with gateway.backstage.engine.begin() as connection:
        (due,) = deliveries.claim(connection, 1, [], timedelta(minutes=1))
        deliveries.settle(connection, due, Tried("2026-01-31T12:00:00+00:00", 12.4, status, error, said))


def test_a_webhook_is_added_and_its_secret_shown_once(webhooks, told) -> None:
    added = webhooks("add", HOOK, "--description", "[first]")
    assert (added.code, added.out[:6], len(added.out.splitlines())) == (0, "whsec_", 1)
    first = told("list")
    assert first["id"] in added.err
    assert set(first["events"]) == set(EventType)
    newer = told("add", HOOK, "--event", "job.failed", "--event", "batch.finished")
    assert set(newer["events"]) == {"job.failed", "batch.finished"}
    listed = webhooks("list")
    rows = [line.split() for line in listed.out.splitlines()[1:]]
    assert rows == [[newer["id"], "enabled", HOOK], [first["id"], "enabled", HOOK, "[first]"]]
    shown = webhooks("show", first["id"]).out + listed.out
    assert added.out.strip() not in shown
    assert newer["secret"] not in shown


def test_a_webhook_is_shown_with_what_came_of_each_attempt(webhooks, told, gateway) -> None:
    hook = told("add", HOOK)["id"]
    sent = told("test", hook)
    try_next(gateway, 503, None, "try\n\x1b[31mlater")
    log = told("show", hook)["deliveries"]
    assert [(one["id"], one["state"], len(one["attempts"])) for one in log] == [(sent["id"], "pending", 1)]
    run = webhooks("show", hook)
    assert (run.code, run.err) == (0, "")
    heading, events, delivery, attempt, due = run.out.splitlines()
    assert heading.startswith(f"{hook}  {HOOK}  failing since ")
    assert all(event in events for event in EventType)
    assert delivery.endswith(f"{sent['id']}  webhook.test  pending  /webhooks/{hook}")
    assert attempt.endswith("503 in 12 ms  try [31mlater")
    assert due.endswith("is tried, or later")


def test_a_log_is_shown_as_far_as_asked_for(webhooks, told, gateway) -> None:
    hook = told("add", HOOK)["id"]
    first, second = (webhooks("test", hook).out.split()[-1] for _ in range(2))
    try_next(gateway, None, "ConnectError", "")
    run = webhooks("show", hook, "--limit", 1)
    assert (second in run.out, first in run.out, "--limit" in run.err) == (True, False, True)
    both = webhooks("show", hook)
    assert (both.out.index(second) < both.out.index(first), both.err) == (True, "")
    assert "ConnectError in 12 ms" in both.out
    # A test goes out at once, and after a failure nothing else does.
    told("test", hook)
    try_next(gateway, 410, None, "")
    assert told("show", hook)["webhook"]["disabled_because"] == "gone"
    assert "disabled (gone)" in webhooks("list").out


def test_a_webhook_is_changed_in_parts(webhooks, told) -> None:
    made = told("add", HOOK, "--event", "job.failed", "--description", "mine")
    hook = made["id"]
    changed = told("change", hook, "--to", "https://8.8.8.8/", "--disable")
    wanted = {name: value for name, value in made.items() if name != "secret"}
    assert changed == wanted | {"url": "https://8.8.8.8/", "enabled": False}
    assert "disabled" in webhooks("show", hook).out
    assert webhooks("change", hook, "--enable", "--event", "batch.finished", "--description", "").out.endswith(
        hook + "\n"
    )
    changed = told("show", hook)["webhook"]
    assert (changed["enabled"], changed["events"], changed["description"]) == (True, ["batch.finished"], "")


def test_a_secret_is_rotated_and_a_webhook_removed(webhooks, told) -> None:
    made = told("add", HOOK)
    rotated = webhooks("rotate", made["id"]).out.strip()
    assert rotated.startswith("whsec_")
    assert rotated not in (made["secret"], told("rotate", made["id"])["secret"])
    assert webhooks("remove", made["id"]).out == f"removed: {made['id']}\n"
    assert webhooks("list", "--json").out == ""
    assert told("remove", told("add", HOOK)["id"])["removed"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "http://10.0.0.1/"), "url: "),
        (("add", HOOK, "--description", "x" * 201), "description: "),
        (("change", NOWHERE, "--to", HOOK), NOWHERE),
        (("change", NOWHERE, "--description", "x" * 201), "description: "),
        (("show", NOWHERE), NOWHERE),
        (("remove", NOWHERE), NOWHERE),
        (("rotate", NOWHERE), NOWHERE),
        (("test", NOWHERE), NOWHERE),
    ],
)
def test_what_the_service_refuses_is_one_line_and_exit_code_2(webhooks, arguments, said: str) -> None:
    run = webhooks(*arguments)
    assert (run.code, run.out, len(run.err.splitlines())) == (2, "", 1)
    assert said in run.err
