"""Batches, the lines that became no job of theirs, and the files that they are exported to."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from shared.states import BatchState, ExportState
from shared.tables.base import INSTANT, JSON, metadata, one_of

batches = Table(
    "batches",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid, ForeignKey("owners.id"), nullable=False),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("priority", Integer, nullable=False, comment="that of all its jobs"),
    Column("state", Text, nullable=False, server_default=text("'running'")),
    Column("jobs", Integer, nullable=False, comment="how many it has"),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("expires_at", INSTANT, nullable=False),
    Column("retry_at", INSTANT, comment="failures up to then are to be queued again"),
    Column("finished_at", INSTANT, comment="since when none of its jobs is unfinished"),
    Column("counts", JSON, comment="its jobs by state, of a finished one: they change no more"),
    Column("request_digest", LargeBinary, comment="by which the request that made it is known"),
    Column(
        "running_since",
        INSTANT,
        nullable=False,
        server_default=func.now(),
        comment="when it was made, or last resumed or retried",
    ),
    CheckConstraint(one_of("state", BatchState), name="state_known"),
    CheckConstraint("jobs >= 0", name="jobs_not_negative"),
    CheckConstraint("num_nulls(finished_at, counts) IN (0, 2)", name="finished_has_counts"),
    Index("ix_batches_owner", "owner_id", "id"),
    Index("ix_batches_open", "id", postgresql_where=text("finished_at IS NULL")),
)

batch_errors = Table(
    "batch_errors",
    metadata,
    Column("batch_id", Uuid, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("line", Integer, primary_key=True, autoincrement=False, comment="of the manifest, from 1"),
    Column("custom_id", Text),
    Column("problem", JSON, nullable=False, comment="why the line became no job"),
)

exports = Table(
    "exports",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("batch_id", Uuid, ForeignKey("batches.id", ondelete="SET NULL"), comment="none: its batch has gone"),
    Column("owner_id", Uuid, ForeignKey("owners.id"), nullable=False),
    Column("format", Text, nullable=False),
    Column("jobs", BigInteger, nullable=False, comment="how many of the batch had succeeded when it was asked for"),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    Column("attempt", Integer, nullable=False, server_default=text("0"), comment="builds that were begun"),
    Column("progress", Double, nullable=False, server_default=text("0"), comment="share of the jobs, 0 to 1"),
    Column("object_key", Text),
    Column("bytes", BigInteger),
    Column("created_at", INSTANT, nullable=False, server_default=func.now()),
    Column("finished_at", INSTANT),
    Column("expires_at", INSTANT, comment="when its file and this row are removed"),
    Column("error", JSON),
    CheckConstraint(one_of("state", ExportState), name="state_known"),
    CheckConstraint(
        "(state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)"
        " AND num_nulls(finished_at, expires_at) IN (0, 2)",
        name="finished_has_times",
    ),
    CheckConstraint("(state = 'succeeded') = (num_nulls(object_key, bytes) = 0)", name="succeeded_has_file"),
    CheckConstraint("(error IS NOT NULL) = (state = 'failed')", name="failed_has_error"),
    Index("ix_exports_asked", "batch_id", "format", "created_at"),
    Index(
        "uq_exports_unfinished",
        "batch_id",
        "format",
        unique=True,
        postgresql_where=text("state IN ('queued', 'running')"),
    ),
    Index("ix_exports_expiry", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
)
