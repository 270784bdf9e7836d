"""What can be said of the images without building them."""

import ast
import re
import sys
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.deploy import compose
from tests.deploy.compose import ROOT

FOLDER = ROOT / "deploy" / "docker"
IMAGES = ("service", "worker")
ON_A_HOST = {"services.cli.local", "services.cli.evaluate", "services.cli.evaluation", "services.cli.measure"}
"""Behind `glamm up`, `glamm demo` and `glamm evaluate`, which nobody runs in a container."""


@pytest.fixture(params=IMAGES)
def image(request) -> str:
    return request.param


def instructions(image: str) -> list[str]:
    text = (FOLDER / f"{image}.Dockerfile").read_text()
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [line for line in joined.splitlines() if line.strip()]


def copied(image: str) -> list[str]:
    """The sources of COPY that come from the build context."""
    copies = [line.split()[1:-1] for line in instructions(image) if line.startswith("COPY") and "--from" not in line]
    return [source for sources in copies for source in sources]


def ignored(image: str, path: str) -> bool:
    """Whether the ignore file of this image keeps the path out of the build: its last pattern that matches decides."""
    own = FOLDER / f"{image}.Dockerfile.dockerignore"
    lines = (own if own.exists() else ROOT / ".dockerignore").read_text().splitlines()
    verdict = False
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    for line in (line.strip() for line in lines):
        pattern = line.lstrip("!").removeprefix("**/")
        if not line or line.startswith("#"):
            continue
        subjects = parts if "**/" in line else above
        if any(fnmatch(subject, pattern) for subject in subjects):
            verdict = not line.startswith("!")
    return verdict


def test_the_base_is_pinned_and_the_same_for_both():
    bases = {line.split()[1] for image in IMAGES for line in instructions(image) if line.startswith("FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases.pop())


def test_it_ends_as_a_user_who_is_not_root(image):
    users = [line.split()[1] for line in instructions(image) if line.startswith("USER")]
    assert users
    assert int(users[-1].split(":")[0]) >= 1000


def test_dependencies_come_from_the_lock_by_their_hashes_in_a_stage_of_their_own(image):
    (install,) = [line for line in instructions(image) if "pip install" in line]
    assert "--require-hashes" in install
    assert f"locks/{image}.lock" in install
    lines = instructions(image)
    stages = [n for n, line in enumerate(lines) if line.startswith("FROM")]
    assert len(stages) == 2
    assert stages[0] < lines.index(install) < stages[1]


def test_the_lock_pins_each_requirement_with_hashes(image):
    text = (ROOT / "locks" / f"{image}.lock").read_text()
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if entry.strip() and not entry.startswith("#")]
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_only_the_workers_image_has_torch():
    names = {
        image: set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / "locks" / f"{image}.lock").read_text(), re.MULTILINE))
        for image in IMAGES
    }
    assert "torch" in names["worker"]
    assert not {"torch", "torchvision", "transformers"} & names["service"]


def test_what_is_copied_exists_and_is_not_kept_out(image):
    for source in copied(image):
        assert (ROOT / source).exists(), source
        assert not ignored(image, source), source


@pytest.mark.parametrize(
    "path", [".env", ".git/config", "data/up/stack.json", "tests/conftest.py", "shared/__pycache__"]
)
def test_what_has_no_business_in_an_image_stays_out(image, path):
    assert ignored(image, path)


def test_the_weights_are_in_the_workers_image_alone():
    weights = "shared/model/checkpoints/scenes/config.json"
    assert ignored("service", weights)
    assert not ignored("worker", weights)


def test_the_image_holds_whatever_its_processes_import(image):
    ours, others = imported_by(modules_beside(entry_points(image)) - ON_A_HOST)
    held = set(copied(image))
    assert {module for module in ours if module.split(".")[0] not in held} == set()
    lock = (ROOT / "locks" / f"{image}.lock").read_text()
    locked = {canonical(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)}
    installed = packages_distributions()
    missing = {module for module in others if not locked & {canonical(name) for name in installed.get(module, [])}}
    assert missing == set()


def entry_points(image: str) -> set[str]:
    """The modules that the compose file runs from the image, health checks included."""
    services = compose.load("docker-compose.yml", environment=compose.SECRETS)["services"]
    lines = [
        words
        for service in services.values()
        if service["image"].startswith(f"glamm-{image}:")
        for words in (service["command"], service.get("healthcheck", {}).get("test", []))
    ]
    found = {words[words.index("-m") + 1] for words in lines if "-m" in words}
    assert found
    return found


def modules_beside(entries: set[str]) -> set[str]:
    """Every module of the packages that the entry points are in: what they import later, inside a function, too."""
    folders = {ROOT.joinpath(*entry.split(".")) for entry in entries}
    files = [f for folder in folders for f in (folder if folder.is_dir() else folder.parent).rglob("*.py")]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files}


def imported_by(entries: set[str]) -> tuple[set[str], set[str]]:
    """Our modules, and the top names of everybody else's, that are loaded when the entry points are."""
    waiting, ours, others = set(entries), set[str](), set[str]()
    while waiting:
        module = waiting.pop()
        file = source_of(module)
        if file is None:
            others.add(module.split(".")[0])
        elif module not in ours:
            ours.add(module)
            waiting |= imported_at_start(file)
            waiting |= {module.rsplit(".", 1)[0]} if "." in module else set()
    return ours, others - set(sys.stdlib_module_names)


def source_of(module: str) -> Path | None:
    """The file of a module of ours; for an entry point that is a package, what `-m` runs."""
    path = ROOT.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__main__.py", path / "__init__.py"):
        if file.is_file():
            return file
    return None


def imported_at_start(file: Path) -> set[str]:
    """The modules named by imports that run with the file, not later inside a function."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if source_of(name) is not None}
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
