"""Exports: the results of a batch as datasets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_jobs_succeeded_of_batch",
        "jobs",
        ["batch_id", "image_id", "line"],
        unique=False,
        postgresql_where=sa.text("batch_id IS NOT NULL AND state = 'succeeded'"),
    )
    op.create_table(
        "exports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True, comment="none: its batch has gone"),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column(
            "jobs",
            sa.BigInteger(),
            nullable=False,
            comment="how many of the batch had succeeded when it was asked for",
        ),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column(
            "attempt", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="builds that were begun"
        ),
        sa.Column(
            "progress", sa.Double(), server_default=sa.text("0"), nullable=False, comment="share of the jobs, 0 to 1"
        ),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when its file and this row are removed",
        ),
        sa.Column("error", JSONB(), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed')", name=op.f("ck_exports_state_known")
        ),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)"
            " AND num_nulls(finished_at, expires_at) IN (0, 2)",
            name=op.f("ck_exports_finished_has_times"),
        ),
        sa.CheckConstraint(
            "(state = 'succeeded') = (num_nulls(object_key, bytes) = 0)", name=op.f("ck_exports_succeeded_has_file")
        ),
        sa.CheckConstraint("(error IS NOT NULL) = (state = 'failed')", name=op.f("ck_exports_failed_has_error")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_exports_batch_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_exports_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    op.create_index("ix_exports_asked", "exports", ["batch_id", "format", "created_at"], unique=False)
    op.create_index(
        "uq_exports_unfinished",
        "exports",
        ["batch_id", "format"],
        unique=True,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index(
        "ix_exports_expiry", "exports", ["expires_at"], unique=False, postgresql_where=sa.text("expires_at IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_table("exports")
    op.drop_index("ix_jobs_succeeded_of_batch", "jobs")
