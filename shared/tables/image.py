"""Images that are stored, and those that clients declared and put into the object store themselves."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, Uuid, func, text

from shared.tables.base import INSTANT, metadata

images = Table(
    "images",
    metadata,
    Column("id", Text, primary_key=True, comment="sha256 of the stored bytes, hex"),
    Column("object_key", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("deleted_at", INSTANT, comment="since when its bytes are gone; what was found in it stays"),
    Column("owner_id", Uuid, ForeignKey("owners.id"), primary_key=True),
    Column(
        "erased_at", INSTANT, comment="when a deleted one's bytes were removed; until then that is still to be done"
    ),
    CheckConstraint("id ~ '^[0-9a-f]{64}$'", name="id_is_sha256"),
    CheckConstraint("width > 0 AND height > 0 AND bytes > 0", name="not_empty"),
    CheckConstraint("erased_at IS NULL OR deleted_at IS NOT NULL", name="erased_was_deleted"),
    Index("ix_images_age", "created_at", postgresql_where=text("deleted_at IS NULL")),
    Index("ix_images_to_erase", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL AND erased_at IS NULL")),
)

uploads = Table(
    "uploads",
    metadata,
    Column("owner_id", Uuid, ForeignKey("owners.id"), primary_key=True),
    Column("sha256", Text, primary_key=True, comment="hex; this and the next two as the client declared them"),
    Column("bytes", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("object_key", Text, nullable=False, comment="where the client puts the bytes"),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("expires_at", INSTANT, nullable=False, comment="when it is swept, used or not, with whatever is at the key"),
    Column("urls_until", INSTANT, nullable=False, comment="when its last URL ends"),
    Column(
        "spent_at",
        INSTANT,
        comment="used or deleted, and to be declared anew; the row stays for what its URLs may still bring",
    ),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_is_hex"),
    CheckConstraint("bytes > 0", name="not_empty"),
    Index("ix_uploads_expires_at", "expires_at"),
)
