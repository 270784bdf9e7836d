"""Make `.venv` as the lock files say; instant when it already is. Standard library alone, run by any Python 3.

Safe to run several at once (one works, the others wait) and to interrupt: an environment that was not finished is made
anew by the next run, quickly, because what was downloaded stays in uv's cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".complete"
BUILD_LOCK = ROOT / "locks" / "build.lock"
DEV_LOCK = ROOT / "locks" / "dev.lock"
OLDEST, NEWEST = (3, 11), (3, 14)
"""Of the Python versions for which every locked package has a wheel."""
CANDIDATES = ("python3.11", "python3.12", "python3.13", "python3.14", "python3", "python")
GLIBC = (2, 28)
"""The oldest C library that the locked wheels run on."""


class SetupError(Exception):
    """Shown as it is, on one line."""


class UnfitHostError(SetupError):
    """The locked wheels are for other machines than this one."""


def main() -> int:
    try:
        require_fit_host(platform.system(), platform.machine(), glibc_here())
        with only_one():
            fingerprint = digest()
            if STAMP.exists() and STAMP.read_text() == fingerprint:
                return 0
            make(fingerprint)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2 if isinstance(error, UnfitHostError) else 1
    except KeyboardInterrupt:
        print("setup: interrupted; the next run starts .venv anew", file=sys.stderr)
        return 130
    return 0


def require_fit_host(system: str, machine: str, glibc: str | None) -> None:
    """Raise UnfitHostError unless it is what `make lock` compiles the lock files for: x86_64-manylinux_2_28."""
    fits = glibc is not None and tuple(int(part) for part in glibc.split(".")[:2]) >= GLIBC
    if (system, machine) != ("Linux", "x86_64") or not fits:
        found = f"{system} on {machine}" + (f" with glibc {glibc}" if glibc else "")
        needed = f"Linux on x86_64 with glibc {'.'.join(map(str, GLIBC))} or newer"
        raise UnfitHostError(f"the locked packages are for {needed}, and this is {found}: use such a host")


def glibc_here() -> str | None:
    """The version of this host's GNU C library; None where it has another one."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (OSError, ValueError):
        return None
    return version if name == "glibc" else None


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock that lets one set-up work at a time. The kernel drops it when the process ends, however it ends."""
    with (ROOT / ".venv.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this folder to finish")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest() -> str:
    """What a finished environment depends on; its place too, which its scripts have in their first lines."""
    parts = [path.read_bytes() for path in (BUILD_LOCK, DEV_LOCK, ROOT / "pyproject.toml", Path(__file__))]
    return hashlib.sha256(b"\0".join([*parts, os.fsencode(VENV)])).hexdigest()


def make(fingerprint: str) -> None:
    """Build or update the environment, and mark it complete as the last thing."""
    python = VENV / "bin" / "python"
    if STAMP.exists() and works(python):
        say("updating .venv to the lock files")
        STAMP.unlink()
    else:
        base = find_python()
        say(f"making .venv with {base}: once, a few minutes on the first machine that downloads it")
        if VENV.exists():
            shutil.rmtree(VENV)
        hint = "the environment could not be made; on Debian and Ubuntu install python3-venv"
        run([base, "-m", "venv", str(VENV)], hint)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    hint = "packages could not be installed; see above, check the network and run it again"
    run([*pip, "--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(BUILD_LOCK)], hint)
    uv = [str(VENV / "bin" / "uv"), "pip"]
    target = ["--python", str(python), "--quiet"]
    run([*uv, "sync", *target, "--require-hashes", str(BUILD_LOCK), str(DEV_LOCK)], hint)
    editable = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    run([*uv, "install", *target, *editable], "this checkout could not be installed; see above")
    draft = STAMP.with_suffix(".new")
    draft.write_text(fingerprint)
    draft.replace(STAMP)
    say(".venv is complete")


def works(python: Path) -> bool:
    """Whether the environment's interpreter still runs; it is a link to one that an upgrade may have removed."""
    if not python.exists():
        return False
    return subprocess.run([str(python), "-c", "import pip"], capture_output=True, check=False).returncode == 0


def find_python() -> str:
    """An interpreter that the locks admit, outside any environment, .venv among them.

    Raises:
        SetupError: there is none.
    """
    seen = []
    for name in CANDIDATES:
        path = shutil.which(name)
        if path is None:
            continue
        # Asked, not guessed from the name: a shim may stand for nothing.
        question = "import os, sys; v = sys.version_info; print(v[0], v[1], os.path.realpath(sys.executable))"
        answer = subprocess.run([path, "-c", question], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            major, minor, real = answer.stdout.strip().split(" ", 2)
            if OLDEST <= (int(major), int(minor)) <= NEWEST:
                return real
            seen.append(f"{path} is {major}.{minor}")
    found = f" ({'; '.join(seen)})" if seen else ""
    needed = " to ".join(".".join(map(str, version)) for version in (OLDEST, NEWEST))
    raise SetupError(f"Python {needed} is needed and not on the PATH{found}: install it first")


def run(command: Sequence[str], hint: str) -> None:
    # pip and uv give up on a slow line sooner than a download of this size allows.
    environment = {"UV_HTTP_TIMEOUT": "300", "PIP_DEFAULT_TIMEOUT": "120", **os.environ}
    environment.pop("VIRTUAL_ENV", None)
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if code != 0:
        raise SetupError(f"{hint} ({' '.join(command[:4])} … ended with code {code})")


def say(message: str) -> None:
    print(f"setup: {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
