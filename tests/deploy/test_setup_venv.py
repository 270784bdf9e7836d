"""Setting up a checkout: when there is nothing to do, when another is at it, and what it says when it cannot."""

import fcntl
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from .conftest import ROOT, eventually

INPUTS = ("deploy/setup_venv.py", "locks/build.lock", "locks/dev.lock", "pyproject.toml")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the set-up reads, in a folder of its own."""
    for name in INPUTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def module_of(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_of_a_checkout", checkout / INPUTS[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def complete(checkout: Path) -> None:
    setup = module_of(checkout)
    setup.VENV.mkdir()
    setup.STAMP.write_text(setup.digest())


def start(checkout: Path, path: str | None = None) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PATH": os.environ["PATH"] if path is None else path}
    command = [sys.executable, "-u", str(checkout / INPUTS[0])]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_complete_environment_is_left_as_it_is_however_many_ask(checkout: Path) -> None:
    complete(checkout)
    before = sorted(checkout.rglob("*"))
    runs = [start(checkout) for _ in range(3)]
    said = {run.communicate()[0] for run in runs}
    assert said <= {"", "setup: waiting for another set-up of this folder to finish\n"}
    assert {run.returncode for run in runs} == {0}
    assert set(checkout.rglob("*")) - set(before) <= {checkout / ".venv.lock"}


@pytest.mark.parametrize("changed", INPUTS)
def test_a_change_of_what_it_is_made_from_makes_it_incomplete(checkout: Path, changed: str) -> None:
    complete(checkout)
    with (checkout / changed).open("a") as file:
        file.write("\n# changed\n")
    setup = module_of(checkout)
    assert setup.STAMP.read_text() != setup.digest()


def test_an_environment_that_was_moved_is_incomplete(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    complete(checkout)
    moved = tmp_path_factory.mktemp("elsewhere") / "checkout"
    checkout.rename(moved)
    setup = module_of(moved)
    assert setup.STAMP.read_text() != setup.digest()


def test_a_second_one_waits_for_the_first(checkout: Path) -> None:
    complete(checkout)
    with (checkout / ".venv.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = start(checkout)
        assert second.stdout is not None
        assert second.stdout.readline() == "setup: waiting for another set-up of this folder to finish\n"
        assert second.poll() is None
    eventually(lambda: second.poll() is not None)
    assert second.returncode == 0


@pytest.mark.parametrize("version", ["3.8", "3.15"])
def test_without_a_python_that_fits_it_says_so_in_one_line(checkout: Path, tmp_path: Path, version: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    other = folder / "python3"
    other.write_text(f"#!/bin/sh\necho {version.replace('.', ' ')} /usr/bin/python{version}\n")
    other.chmod(0o755)
    run = start(checkout, path=str(folder))
    text, _ = run.communicate()
    assert run.returncode == 1
    needed = "Python 3.11 to 3.14 is needed"
    assert text == f"setup: {needed} and not on the PATH ({other} is {version}): install it first\n"


@pytest.mark.parametrize(
    ("host", "told"),
    [
        (("Darwin", "arm64", ""), "this is Darwin on arm64: "),
        (("Linux", "aarch64", "glibc 2.36"), "this is Linux on aarch64 with glibc 2.36: "),
        (("Linux", "x86_64", "glibc 2.17"), "this is Linux on x86_64 with glibc 2.17: "),
        (("Linux", "x86_64", ""), "this is Linux on x86_64: "),
    ],
)
def test_on_a_host_that_the_packages_are_not_for_it_says_so_and_does_nothing(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    host: tuple[str, str, str],
    told: str,
) -> None:
    setup = module_of(checkout)
    system, machine, c_library = host
    monkeypatch.setattr(setup.platform, "system", lambda: system)
    monkeypatch.setattr(setup.platform, "machine", lambda: machine)
    monkeypatch.setattr(setup.os, "confstr", lambda name: c_library)
    before = sorted(checkout.rglob("*"))
    assert setup.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("setup: the locked packages are for Linux on x86_64 with glibc 2.28 or newer, and ")
    assert told in line
    assert sorted(checkout.rglob("*")) == before


def test_this_host_is_one_that_the_packages_are_for(checkout: Path) -> None:
    setup = module_of(checkout)
    setup.require_fit_host(platform.system(), platform.machine(), setup.glibc_here())


def test_the_host_that_is_asked_for_is_the_one_that_the_locks_are_compiled_for(checkout: Path) -> None:
    setup = module_of(checkout)
    glibc = "_".join(map(str, setup.GLIBC))
    assert f"--python-platform x86_64-manylinux_{glibc}" in (ROOT / "Makefile").read_text()


def test_an_active_environment_is_not_what_the_new_one_is_made_with(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = checkout / ".venv" / "bin"
    active.mkdir(parents=True)
    (active / "python3.11").symlink_to(Path(sys.executable).resolve())
    monkeypatch.setenv("PATH", str(active))
    assert module_of(checkout).find_python() == str(Path(sys.executable).resolve())
