"""Batches: many jobs from one request, on images that may still have to be taken in."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OF_BATCH = sa.text("batch_id IS NOT NULL")
_QUEUED = sa.text("state = 'queued'")
_COLUMNS = (
    ("batch_id", sa.Uuid(), None),
    ("line", sa.Integer(), "of the batch's manifest, from 1"),
    ("custom_id", sa.Text(), "the client's own name for the job, one of its batch"),
    ("source", sa.Text(), "where the image is, or was, taken in from"),
)
_CHECKS = (
    ("has_image", "num_nulls(image_id, source) < 2"),
    ("line_of_batch", "num_nulls(batch_id, line) IN (0, 2)"),
    ("custom_id_of_batch", "custom_id IS NULL OR batch_id IS NOT NULL"),
)


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False, comment="that of all its jobs"),
        sa.Column("state", sa.Text(), server_default=sa.text("'running'"), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False, comment="how many it has"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "retry_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="failures up to then are to be queued again",
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when none of its jobs is unfinished",
        ),
        sa.Column(
            "counts",
            postgresql.JSONB(none_as_null=True),
            nullable=True,
            comment="its jobs by state, of a finished one: they change no more",
        ),
        sa.CheckConstraint("state IN ('running', 'paused', 'canceled')", name=op.f("ck_batches_state_known")),
        sa.CheckConstraint("jobs >= 0", name=op.f("ck_batches_jobs_not_negative")),
        sa.CheckConstraint("num_nulls(finished_at, counts) IN (0, 2)", name=op.f("ck_batches_finished_has_counts")),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_batches_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index("ix_batches_owner", "batches", ["owner_id", "id"])
    op.create_index("ix_batches_open", "batches", ["id"], postgresql_where=sa.text("finished_at IS NULL"))
    op.create_table(
        "batch_errors",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False, comment="of the manifest, from 1"),
        sa.Column("custom_id", sa.Text(), nullable=True),
        sa.Column(
            "problem",
            postgresql.JSONB(none_as_null=True),
            nullable=False,
            comment="why the line became no job",
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_batch_errors_batch_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "line", name=op.f("pk_batch_errors")),
    )
    op.alter_column("jobs", "image_id", nullable=True, comment="none until the image is taken in from its source")
    for name, type_, comment in _COLUMNS:
        op.add_column("jobs", sa.Column(name, type_, nullable=True, comment=comment))
    op.create_foreign_key(op.f("fk_jobs_batch_id"), "jobs", "batches", ["batch_id"], ["id"])
    for name, rule in _CHECKS:
        op.create_check_constraint(op.f(f"ck_jobs_{name}"), "jobs", rule)
    op.drop_index("ix_jobs_admission", "jobs")
    op.create_index(
        "ix_jobs_admission",
        "jobs",
        ["owner_id", sa.text("priority DESC"), "created_at", "id"],
        postgresql_where=sa.text("state = 'queued' AND batch_id IS NULL"),
    )
    op.create_index(
        "ix_jobs_batch_head",
        "jobs",
        ["batch_id", "line"],
        postgresql_where=sa.text("state = 'queued' AND batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_waits_for",
        "jobs",
        ["source"],
        postgresql_where=sa.text("finished_at IS NULL AND source IS NOT NULL"),
    )
    op.create_index("ix_jobs_batch_state", "jobs", ["batch_id", "state", "line"], postgresql_where=_OF_BATCH)
    op.create_index("uq_jobs_line", "jobs", ["batch_id", "line"], unique=True, postgresql_where=_OF_BATCH)
    op.create_index(
        "uq_jobs_custom_id",
        "jobs",
        ["batch_id", "custom_id"],
        unique=True,
        postgresql_where=sa.text("custom_id IS NOT NULL"),
    )
    op.create_index("ix_jobs_batch_finished", "jobs", ["batch_id", "finished_at"], postgresql_where=_OF_BATCH)


def downgrade() -> None:
    op.execute("DELETE FROM jobs WHERE batch_id IS NOT NULL OR image_id IS NULL")
    for name in (
        "ix_jobs_batch_finished",
        "uq_jobs_custom_id",
        "uq_jobs_line",
        "ix_jobs_batch_state",
        "ix_jobs_waits_for",
        "ix_jobs_batch_head",
    ):
        op.drop_index(name, "jobs")
    op.drop_index("ix_jobs_admission", "jobs")
    op.create_index(
        "ix_jobs_admission",
        "jobs",
        [sa.text("priority DESC"), "created_at", "id"],
        postgresql_where=_QUEUED,
    )
    for name, _ in _CHECKS:
        op.drop_constraint(op.f(f"ck_jobs_{name}"), "jobs", type_="check")
    op.drop_constraint("fk_jobs_batch_id", "jobs", type_="foreignkey")
    for name, _, _ in reversed(_COLUMNS):
        op.drop_column("jobs", name)
    op.alter_column("jobs", "image_id", nullable=False, comment=None)
    op.drop_table("batch_errors")
    op.drop_table("batches")
