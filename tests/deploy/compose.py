"""Reads a compose file as docker compose does: variables filled in, merges resolved, override files laid on top."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SECRETS = {
    "POSTGRES_PASSWORD": "secret1",
    "DATABASE_PASSWORD": "secret2",
    "REDIS_PASSWORD": "secret3",
    "S3_ADMIN_PASSWORD": "secret4",
    "S3_SECRET_KEY": "secret5",
    "API_KEY": "secret-of-24-characters-6",
}
"""For what has to be in .env."""
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z0-9_]+)(?:(?P<kind>:-|:\?)(?P<rest>[^}]*))?\}|\$(?P<plain>[A-Za-z_]\w*)|\$\$")


class Missing(Exception):  # noqa: N818 -- says what happened
    """A required variable is unset or empty."""


def load(*files: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The files of the repository's root, later ones over earlier ones, with `environment` for the variables."""
    merged: dict[str, Any] = {}
    for file in files:
        merged = _over(merged, yaml.safe_load(fill((ROOT / file).read_text(), environment)))
    return merged


def fill(text: str, environment: Mapping[str, str]) -> str:
    """Interpolates; comments are left out first, for they may speak of variables. Raises Missing."""
    code = re.sub(r"(^|\s)#.*", "", text)

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name = match["name"] or match["plain"]
        found = environment.get(name, "")
        if found or match["kind"] is None:
            return found
        if match["kind"] == ":?":
            raise Missing(f"{name}: {match['rest']}")
        return match["rest"]

    return _VARIABLE.sub(value, code)


def variables(text: str) -> dict[str, bool]:
    """Every variable that the text names, and whether it is required."""
    found: dict[str, bool] = {}
    for match in _VARIABLE.finditer(re.sub(r"(^|\s)#.*", "", text)):
        if name := match["name"] or match["plain"]:
            found[name] = found.get(name, False) or match["kind"] == ":?"
    return found


def _over(below: Any, above: Any) -> Any:
    """Mappings merge and single values are replaced. Compose joins some lists and replaces others; ours lays none on
    another."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _over(below.get(key), value) for key, value in above.items()}
    assert not (isinstance(below, list) and isinstance(above, list)), f"{above} over {below}"
    return above
