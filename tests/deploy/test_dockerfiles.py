"""What can be said of the images without building them."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

FOLDER = ROOT / "deploy" / "docker"
IMAGES = ("service", "worker")


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


@pytest.mark.parametrize(("image", "package"), [("service", "services"), ("worker", "workers")])
def test_the_image_holds_every_package_of_ours_that_its_code_imports_when_it_starts(image, package):
    held = set(copied(image))
    for file in sorted((ROOT / package).rglob("*.py")):
        for module in imported_at_start(file):
            top = module.split(".")[0]
            if (ROOT / top / "__init__.py").exists():
                assert top in held, f"{file.relative_to(ROOT)} imports {module}"


def imported_at_start(file: Path) -> set[str]:
    """The modules named by imports that run with the file, not later inside a function."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found
