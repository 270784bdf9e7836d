"""An upload that was deleted has to be declared anew before it counts again."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "uploads",
        sa.Column(
            "withdrawn_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="deleted, and to be declared anew; the row stays for what its URL may still bring",
        ),
    )


def downgrade() -> None:
    op.drop_column("uploads", "withdrawn_at")
