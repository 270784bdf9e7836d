"""The version of the whole project: `pyproject.toml` says the same, for what is not installed has no metadata."""

VERSION = "0.1.0"
