"""An upload that was used or deleted has to be declared anew before it counts again, and is swept with its last URL."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "uploads",
        sa.Column("urls_until", sa.DateTime(timezone=True), nullable=True, comment="when its last URL ends"),
    )
    op.execute("UPDATE uploads SET urls_until = expires_at")
    op.alter_column("uploads", "urls_until", nullable=False)
    op.add_column(
        "uploads",
        sa.Column(
            "spent_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="used or deleted, and to be declared anew; the row stays for what its URLs may still bring",
        ),
    )


def downgrade() -> None:
    op.drop_column("uploads", "spent_at")
    op.drop_column("uploads", "urls_until")
