"""Owners, and the keys that open the service to them."""

from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from shared.tables.base import INSTANT, metadata

LOCAL_OWNER = UUID("00000000-0000-7000-8000-000000000000")
"""The owner of what is stored while the service has no keys; the migrations make its row."""

owners = Table(
    "owners",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("requests_per_minute", Integer, comment="none: the setting's, as with the next two"),
    Column("stored_bytes", BigInteger),
    Column("queued_jobs", Integer),
    CheckConstraint("name <> ''", name="has_name"),
    CheckConstraint("requests_per_minute > 0 AND stored_bytes >= 0 AND queued_jobs >= 0", name="limits_sensible"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id"), nullable=False, index=True),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("secret_sha256", LargeBinary, nullable=False, unique=True),
    Column("hint", Text, nullable=False, comment="the secret's first characters, to tell it by"),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("expires_at", INSTANT),
    Column("revoked_at", INSTANT),
    Column("last_used_at", INSTANT, comment="to within what the gateways keep in mind"),
    CheckConstraint("octet_length(secret_sha256) = 32", name="secret_hashed"),
)
