"""A batch's jobs are found by their task and by the problem that they failed with."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_jobs_batch_task",
        "jobs",
        ["batch_id", "task", "line"],
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_failed_of_batch",
        "jobs",
        ["batch_id", sa.text("(error ->> 'type')"), "line"],
        postgresql_where=sa.text("batch_id IS NOT NULL AND state = 'failed'"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_failed_of_batch", "jobs")
    op.drop_index("ix_jobs_batch_task", "jobs")
