"""What the tables are made of."""

from collections.abc import Iterable

from sqlalchemy import DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)
INSTANT = DateTime(timezone=True)
JSON = JSONB(none_as_null=True)


def one_of(column: str, values: Iterable[str]) -> str:
    """The condition of a constraint."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"
