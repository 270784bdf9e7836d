"""Commands that install the service, and are run by programs as well as by people.

Where GLAMM_LOG_FORMAT asks for JSON what they say is an event of a log, as with the service's other processes. Nobody
sets it for people, who read a line.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import typer

from services.cli import exit_codes
from shared import logs
from shared.errors import GlammError, Unavailable

log = logs.get_logger(__name__)


@contextmanager
def database_in_use() -> Iterator[None]:
    """Raises Unavailable in place of what the database, or who reaches for it, raises."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        raise Unavailable("database", f"The database of $GLAMM_DATABASE_URL cannot be used: {reason}.") from error


class Say(Protocol):
    def __call__(self, line: str, event: str, **facts: Any) -> None:
        """Say the line, or the event with its facts."""


@contextmanager
def one_shot(process: str) -> Iterator[Say]:
    """What the block says and how it fails goes where the log goes, or else to the terminal."""
    if logs.wanted_format() != "json":
        yield _print
        return
    logs.open_log(process, "json")
    try:
        logs.configure(process)
        yield _log
    except GlammError as error:
        log.error("process.failed", error=error.detail, field=error.field, remedy=error.remedy)
        raise typer.Exit(exit_codes.of(error)) from error


def _print(line: str, event: str, **facts: Any) -> None:
    print(line)


def _log(line: str, event: str, **facts: Any) -> None:
    log.info(event, **facts)
