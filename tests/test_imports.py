"""Which part of the tree may import which: docs/decisions/imports.md says why."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]

ARROWS: dict[str, set[str]] = {
    "shared.model": {"shared.appearing"},
    "shared": {"shared.model"},
    "services.gateway": {"shared"},
    "services.scheduler": {"shared"},
    "services.cli": {"shared", "shared.model", "deploy", "training"},
    "workers": {"shared", "shared.model"},
    "training": {"shared", "shared.model"},
    "deploy": {"shared"},
    "bench": {"shared", "shared.model", "deploy", "training", "services.cli"},
}


def test_imports_follow_the_arrows():
    for part, allowed in ARROWS.items():
        for file in files_of(part):
            others = {module for module in imported(file) if part_of(module) not in (part, None)}
            astray = {module for module in others if not any(leads(arrow, module) for arrow in allowed)}
            assert not astray, file


def test_no_arrow_is_left_over():
    for part, allowed in ARROWS.items():
        modules = {module for file in files_of(part) for module in imported(file)}
        assert {arrow for arrow in allowed if not any(leads(arrow, module) for module in modules)} == set(), part


def test_every_file_is_of_a_part():
    for top in {part.split(".")[0] for part in ARROWS}:
        for file in (ROOT / top).rglob("*.py"):
            if file.relative_to(ROOT).parts[1:] != ("__init__.py",):
                assert part_of(named(file)), file


def files_of(part: str) -> list[Path]:
    return [file for file in (ROOT / part.split(".")[0]).rglob("*.py") if part_of(named(file)) == part]


def named(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


def part_of(module: str) -> str | None:
    """The longest name of a part that the module is in; None where it is none of ours."""
    within = [part for part in ARROWS if f"{module}.".startswith(f"{part}.")]
    return max(within, key=len, default=None)


def leads(arrow: str, module: str) -> bool:
    """Whether the arrow, to a part or to a single module, leads to what is imported."""
    return part_of(module) == arrow if arrow in ARROWS else f"{module}.".startswith(f"{arrow}.")


def imported(file: Path) -> set[str]:
    """What a file imports at its start or later: modules, and names with the module that they come from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, file
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found
