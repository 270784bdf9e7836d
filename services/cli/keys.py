"""`glamm keys`: the API keys of a running service, for whoever has one with the scope `admin`."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from services.cli.options import UP_DATA, ApiKey, AsJson, Data, Url
from shared.errors import InvalidInput, InvalidSettings
from shared.scopes import Scope

if TYPE_CHECKING:
    from services.cli.client import GlammClient
    from shared import schema

BOOTSTRAP_OWNER = "local"
_A_PAGE = 200

app = typer.Typer(help="The API keys of a running service.", no_args_is_help=True)


@app.command()
def create(
    owner: Annotated[str, typer.Option(help="Whose key it is; made along with its first key.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="read, write or admin. Repeatable. Default: read and write.")
    ] = None,
    name: Annotated[str, typer.Option(help="To tell it from others.")] = "",
    days: Annotated[int | None, typer.Option(min=1, max=36500, help="It ends after so many. Default: never.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It is shown this once."""
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with _client(url, api_key, data) as client:
        key = client.create_key(owner, scope or [Scope.READ, Scope.WRITE], name, expires_at)
    print(key.model_dump_json() if as_json else key.secret)


@app.command("list")
def list_keys(url: Url = None, api_key: ApiKey = None, data: Data = UP_DATA, as_json: AsJson = False) -> None:
    """Show all keys, the newest first, without their secrets."""
    with _client(url, api_key, data) as client:
        keys = list(client.keys(limit=_A_PAGE))
    if as_json:
        for key in keys:
            print(key.model_dump_json())
        return
    from rich.console import Console

    from services.cli.lists import Listing, moment

    headings = ("id", "owner", "name", "scopes", "begins with", "made", "last used", "state")
    rows = [
        (
            str(key.id),
            key.owner,
            key.name,
            ", ".join(key.scopes),
            key.hint,
            moment(key.created_at),
            "never" if key.last_used_at is None else moment(key.last_used_at),
            _state(key),
        )
        for key in keys
    ]
    Listing(headings, rows).show(Console())


@app.command()
def revoke(
    key_id: Annotated[UUID, typer.Argument(metavar="ID", help="As `glamm keys list` shows it.")],
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: AsJson = False,
) -> None:
    """Let a key open nothing any more. What its owner has stays."""
    with _client(url, api_key, data) as client:
        key = client.revoke_key(key_id)
    print(key.model_dump_json() if as_json else f"revoked: {key.id} of {key.owner}")


@app.command()
def limits(
    owner: Annotated[str, typer.Argument(help="Whose limits to show or set.")],
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="At all gateways together.")] = None,
    stored_bytes: Annotated[int | None, typer.Option(min=0, help="Of all its images.")] = None,
    queued_jobs: Annotated[int | None, typer.Option(min=0, help="That wait at any time.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Let it have no limits of its own.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = UP_DATA,
    as_json: AsJson = False,
) -> None:
    """Show what an owner may take and has taken, or set it: what is left out then is as the service's settings say."""
    wanted = requests_per_minute, stored_bytes, queued_jobs
    sets = any(limit is not None for limit in wanted)
    if reset and sets:
        raise InvalidInput("--reset", "It leaves the owner no limit of its own.", "Leave it, or the limits, out.")
    with _client(url, api_key, data) as client:
        if not (sets or reset):
            allowance = client.limits(owner)
            if as_json:
                print(allowance.model_dump_json())
            else:
                _print_allowance(allowance)
            return
        own = client.set_limits(owner, *wanted)
    print(own.model_dump_json() if as_json else f"set: the limits of {owner}")


@app.command()
def bootstrap() -> None:
    """Let $GLAMM_API_KEY be a key with all scopes, in the database of $GLAMM_DATABASE_URL. Safe to repeat."""
    from services.cli.one_shot import one_shot

    with one_shot("keys-bootstrap") as say:
        made = _bootstrap()
        line = "the key of $GLAMM_API_KEY was made" if made else "the key of $GLAMM_API_KEY exists"
        say(line, "key.ensured", made=made)


def _bootstrap() -> bool:
    """Whether the key is new. Raises InvalidSettings."""
    from sqlalchemy import create_engine

    from services.cli.one_shot import database_in_use
    from shared import access
    from shared.settings import get_settings

    secret = os.environ.get("GLAMM_API_KEY", "")
    if len(secret) < access.LEAST_SECRET:
        raise InvalidSettings(
            f"GLAMM_API_KEY has {len(secret)} characters and becomes the key to everything.",
            field="GLAMM_API_KEY",
            remedy=f"Set {access.LEAST_SECRET} or more that nobody can guess, for example: openssl rand -hex 24.",
        )
    engine = create_engine(get_settings().database_url)
    with database_in_use(), engine.begin() as connection:
        made = access.ensure_key(connection, BOOTSTRAP_OWNER, list(Scope), secret, "bootstrap")
    engine.dispose()
    return made


def _client(url: str | None, api_key: str | None, data: Path) -> "GlammClient":
    from services.cli import locate

    return locate.client(url, api_key, data)


def _print_allowance(allowance: "schema.Allowance") -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table("limit", Column("in force", justify="right"), Column("used", justify="right"), "set by", box=None)
    own, in_force, used = (part.model_dump() for part in (allowance.own, allowance.in_force, allowance.used))
    for name, most in in_force.items():
        shown = "none" if most is None else f"{most:,}"
        taken = f"{used[name]:,}" if name in used else ""
        whose = "the service's settings" if own.get(name) is None else "the owner's own"
        table.add_row(name.replace("_", " "), shown, taken, whose)
    Console().print(table)


def _state(key: "schema.Key") -> str:
    from services.cli.lists import moment

    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    return f"valid until {moment(key.expires_at)}" if key.expires_at > datetime.now(UTC) else "expired"
