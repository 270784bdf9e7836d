"""The embedded stack as a whole: interrupted at any moment, killed, started twice, and a process of it lost."""

import io
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from deploy.embedded.errors import DataInUseError, EmbeddedError
from deploy.embedded.stack import Stack
from shared.errors import InvalidSettings
from shared.settings import get_settings

from .conftest import Runner, eventually, processes_of

# The workers load a model; what is tested here is the same without them.
PROGRAM = """
import os, pathlib
from deploy.embedded.stack import Stack
print("begun")
with Stack(pathlib.Path(os.environ["TEST_FOLDER"]), workers=()) as stack:
    print("up", stack.gateway_url, stack.api_key)
    stack.wait()
"""


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("weed", signal.SIGTERM, 143),
        ("initdb", signal.SIGINT, -signal.SIGINT),  # Python's own way to end after an interrupt
        ("postgres -D", signal.SIGINT, -signal.SIGINT),
        ("services.gateway", signal.SIGHUP, 129),
    ],
)
def test_an_interrupt_during_the_start_leaves_no_process(
    run: Callable[[str], Runner], moment: str, number: signal.Signals, code: int
) -> None:
    runner = run(PROGRAM)
    eventually(lambda: runner.has(moment))
    assert runner.end_with(number) == code
    assert runner.nothing_is_left()
    assert not (runner.folder / "stack.json").exists()


def test_a_running_stack_ends_on_a_signal(run: Callable[[str], Runner]) -> None:
    runner = run(PROGRAM)
    eventually(lambda: runner.says("up http://"))
    assert (runner.folder / "stack.json").exists()
    assert runner.end_with(signal.SIGTERM) == 143
    assert runner.nothing_is_left()
    assert not (runner.folder / "stack.json").exists()


def test_a_killed_stack_leaves_no_process_and_starts_again_with_its_data(run: Callable[[str], Runner]) -> None:
    runner = run(PROGRAM)
    eventually(lambda: runner.says("up http://"))
    _, url, key = runner.text.split()[-3:]
    assert upload(url, key).status_code == 201
    runner.end_with(signal.SIGKILL)
    eventually(runner.nothing_is_left)
    with Stack(runner.folder, workers=()) as stack:
        assert stack.gateway_url == url
        assert upload_to(stack).status_code == 200


@pytest.fixture(scope="module")
def reports() -> list[str]:
    return []


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory, reports: list[str]) -> Iterator[tuple[Stack, Stack]]:
    """Two stacks on two folders, started at the same time."""
    one, two = (Stack(tmp_path_factory.mktemp(name), workers=(), report=reports.append) for name in ("one", "two"))
    with ThreadPoolExecutor() as pool:
        try:
            list(pool.map(Stack.start, (one, two)))
            yield one, two
        finally:
            list(pool.map(Stack.stop, (one, two)))
    assert not processes_of(one.data_dir)
    assert not processes_of(two.data_dir)


def test_two_stacks_run_side_by_side_without_sharing_anything(stacks: tuple[Stack, Stack]) -> None:
    one, two = stacks
    assert one.gateway_url != two.gateway_url
    assert not set(one.pids.values()) & set(two.pids.values())
    assert upload_to(one).status_code == 201
    assert upload_to(two).status_code == 201
    assert upload_to(one).status_code == 200


def test_other_users_of_the_host_read_no_images_logs_or_passwords(stacks: tuple[Stack, Stack]) -> None:
    stack = stacks[0]
    assert upload_to(stack).status_code in (200, 201)
    assert {path.name for path in open_to_others(stack.data_dir)} <= {"lock", "stack.json", "gateway.port", "port"}


def test_a_second_stack_on_a_folder_is_refused_and_told_where_the_first_is(stacks: tuple[Stack, Stack]) -> None:
    stack = stacks[0]
    with pytest.raises(DataInUseError) as caught:
        Stack(stack.data_dir).start()
    assert caught.value.url == stack.gateway_url
    assert caught.value.pid == os.getpid()
    assert ready(stack.gateway_url)


def test_a_process_that_dies_is_replaced_and_the_others_go_on(stacks: tuple[Stack, Stack], reports: list[str]) -> None:
    stack = stacks[1]
    before = stack.pids
    os.kill(before["postgres"], signal.SIGKILL)
    eventually(lambda: "postgres runs again" in reports)
    eventually(lambda: ready(stack.gateway_url))
    changed = {name for name, pid in stack.pids.items() if pid != before[name]}
    assert changed == {"postgres"}


def test_all_processes_may_die_at_once_and_are_back_where_they_were(
    stacks: tuple[Stack, Stack], reports: list[str]
) -> None:
    stack = stacks[1]
    url, before = stack.gateway_url, stack.pids
    reports.clear()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: {f"{name} runs again" for name in before} <= set(reports))
    assert ready(url)
    assert not set(before.values()) & set(stack.pids.values())
    assert upload_to(stack).status_code == 200


def test_a_port_that_is_taken_is_refused(stacks: tuple[Stack, Stack], tmp_path: Path) -> None:
    taken = int(stacks[0].gateway_url.rpartition(":")[2])
    with pytest.raises(EmbeddedError, match=f"Port {taken} is taken") as caught:
        Stack(tmp_path, port=taken, workers=()).start()
    assert caught.value.field == "--port"
    assert not processes_of(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="cannot be used") as caught:
        Stack(tmp_path / "file" / "data").start()
    assert caught.value.field == "--data"


def test_a_wrong_setting_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLAMM_DEVICE", "abacus")
    get_settings.cache_clear()
    try:
        with pytest.raises(InvalidSettings, match="GLAMM_DEVICE"):
            Stack(tmp_path / "data").start()
    finally:
        get_settings.cache_clear()
    assert not (tmp_path / "data").exists()


def open_to_others(folder: Path) -> Iterator[Path]:
    """The files below a folder that users other than the owner can reach and read."""
    for path in folder.iterdir():
        mode = path.stat().st_mode
        if path.is_dir() and mode & 0o001:
            yield from open_to_others(path)
        elif path.is_file() and mode & 0o004:
            yield path


def upload_to(stack: Stack) -> httpx.Response:
    return upload(stack.gateway_url, stack.api_key)


def upload(url: str, key: str) -> httpx.Response:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(file, "PNG")
    headers = {"Content-Type": "image/png", "Authorization": f"Bearer {key}"}
    return httpx.post(f"{url}/images", content=file.getvalue(), headers=headers, timeout=30)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
