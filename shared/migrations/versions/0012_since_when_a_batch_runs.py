"""Since when a batch runs, so that its pace is not measured over a time before that."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "batches",
        sa.Column(
            "running_since",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
            comment="when it was made, or last resumed or retried",
        ),
    )


def downgrade() -> None:
    op.drop_column("batches", "running_since")
