"""The commands that make the accounts which the service's processes use, by those of the servers' administrators.

What they need of the administrators is in variables of their own, which no other process is given.
"""

import os

import typer

from shared.errors import InvalidSettings, Unavailable

_ADMIN_URL = "GLAMM_DATABASE_ADMIN_URL"
_AN_URL = "Set it to one such as postgresql://postgres:PASSWORD@HOST:5432/postgres."
_A_SUPERUSER = f"See that the server runs, and that {_ADMIN_URL} has a superuser's name and password."

app = typer.Typer()


@app.command("database-role")
def database_role() -> None:
    """Let the role and database of $GLAMM_DATABASE_URL exist, by the superuser of $GLAMM_DATABASE_ADMIN_URL."""
    import psycopg
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from services.cli.one_shot import one_shot
    from shared.database_role import ensure_role
    from shared.settings import get_settings

    with one_shot("database-role") as say:
        admin_url = _given(_ADMIN_URL)
        try:
            make_url(admin_url)
        except (ArgumentError, ValueError) as error:
            raise InvalidSettings(f"{_ADMIN_URL} is no URL of a database.", field=_ADMIN_URL, remedy=_AN_URL) from error
        try:
            ensure_role(admin_url, get_settings().database_url)
        except psycopg.Error as error:
            reason = " ".join(str(error).split()).rstrip(".")
            detail = f"The role of $GLAMM_DATABASE_URL cannot be made: {reason}."
            raise Unavailable("database", detail, _A_SUPERUSER) from error
        say("the role of $GLAMM_DATABASE_URL owns its database", "role.ensured")


@app.command("bucket-user")
def bucket_user() -> None:
    """Let MinIO's user of $GLAMM_S3_ACCESS_KEY exist, by its administrator of $GLAMM_S3_ADMIN_ACCESS_KEY."""
    from services.cli.one_shot import one_shot
    from shared.bucket_user import ensure_user
    from shared.settings import get_settings

    with one_shot("bucket-user") as say:
        settings = get_settings()
        user, bucket = settings.s3_access_key, settings.s3_bucket
        ensure_user(settings, _given("GLAMM_S3_ADMIN_ACCESS_KEY"), _given("GLAMM_S3_ADMIN_SECRET_KEY"))
        say(f"the user {user} may use the bucket {bucket}", "user.ensured", user=user, bucket=bucket)


def _given(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise InvalidSettings(
            f"{variable} is not set.", field=variable, remedy="Set it to what the server's administrator uses."
        )
    return value
