"""Images, conversations, jobs with their leases and history, and results."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.Text(), nullable=False, comment="sha256 of the stored bytes, hex"),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "deleted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when its bytes are gone; what was found in it stays",
        ),
        sa.CheckConstraint("id ~ '^[0-9a-f]{64}$'", name=op.f("ck_images_id_is_sha256")),
        sa.CheckConstraint("width > 0 AND height > 0 AND bytes > 0", name=op.f("ck_images_not_empty")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
    )
    op.create_table(
        "conversations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_conversations_image_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
    )
    op.create_index(op.f("ix_conversations_image_id"), "conversations", ["image_id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column(
            "inputs",
            JSONB(),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="shared.tasks.Ask without its task",
        ),
        sa.Column("conversation_id", sa.Uuid(), nullable=True),
        sa.Column("turn", sa.Integer(), nullable=True, comment="1 for the first of its conversation"),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column(
            "attempt", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="starts of the present stage"
        ),
        sa.Column("rewinds", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_worker", sa.Text(), nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "ready_at", sa.DateTime(timezone=True), nullable=True, comment="since when the present stage could start"
        ),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True, comment="when its message was last sent"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", JSONB(), nullable=True, comment="the problem of a failed job, with stage and attempt"),
        sa.CheckConstraint("(error IS NOT NULL) = (state = 'failed')", name=op.f("ck_jobs_failed_has_error")),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'canceled'))",
            name=op.f("ck_jobs_finished_has_time"),
        ),
        sa.CheckConstraint(
            "NOT (state IN ('vision', 'llm', 'pixel')) OR num_nulls(admitted_at, ready_at, sent_at) = 0",
            name=op.f("ck_jobs_in_flight_was_admitted"),
        ),
        sa.CheckConstraint(
            "lease_token IS NULL OR (state IN ('vision', 'llm', 'pixel') AND attempt > 0)",
            name=op.f("ck_jobs_lease_only_in_flight"),
        ),
        sa.CheckConstraint(
            "state <> 'queued' OR (admitted_at IS NULL AND attempt = 0)", name=op.f("ck_jobs_queued_not_started")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'vision', 'llm', 'pixel', 'succeeded', 'failed', 'canceled')",
            name=op.f("ck_jobs_state_known"),
        ),
        sa.CheckConstraint("attempt >= 0 AND rewinds >= 0", name=op.f("ck_jobs_counts_not_negative")),
        sa.CheckConstraint(
            "num_nulls(conversation_id, turn) IN (0, 2) AND turn > 0", name=op.f("ck_jobs_turn_of_conversation")
        ),
        sa.CheckConstraint(
            "num_nulls(lease_worker, lease_token, lease_expires_at) IN (0, 3)", name=op.f("ck_jobs_lease_whole")
        ),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_jobs_image_id")),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_jobs_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_admission",
        "jobs",
        [sa.literal_column("priority DESC"), "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_expiry", "jobs", ["expires_at"], unique=False, postgresql_where=sa.text("finished_at IS NULL")
    )
    op.create_index(op.f("ix_jobs_image_id"), "jobs", ["image_id"], unique=False)
    op.create_index(
        "ix_jobs_in_flight",
        "jobs",
        ["state", "sent_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('vision', 'llm', 'pixel')"),
    )
    op.create_index(
        "uq_jobs_lease_token", "jobs", ["lease_token"], unique=True, postgresql_where=sa.text("lease_token IS NOT NULL")
    )
    op.create_index(
        "uq_jobs_turn",
        "jobs",
        ["conversation_id", "turn"],
        unique=True,
        postgresql_where=sa.text("turn IS NOT NULL"),
    )
    op.create_table(
        "generations",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False, comment="which of the job's answers, from 0"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("token_ids", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("prompt_vectors", sa.LargeBinary(), nullable=False, comment="float32, little endian, row after row"),
        sa.Column("n_vectors", sa.Integer(), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "octet_length(prompt_vectors) = 4 * n_vectors * dim", name=op.f("ck_generations_vectors_whole")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_generations_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "n", name=op.f("pk_generations")),
    )
    op.create_table(
        "results",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("model_fingerprint", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_results_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_results")),
    )
    op.create_table(
        "answers",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False, comment="for reading, without markup"),
        sa.Column("raw_text", sa.Text(), nullable=False, comment="as the model wrote it"),
        sa.ForeignKeyConstraint(["job_id"], ["results.job_id"], name=op.f("fk_answers_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "n", name=op.f("pk_answers")),
    )
    op.create_table(
        "stage_runs",
        sa.Column("token", sa.Uuid(), nullable=False, comment="of the lease the run started with"),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="1 for the first start"),
        sa.Column("rewind", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message_sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), server_default=sa.text("'running'"), nullable=False),
        sa.Column("timings", JSONB(), nullable=True, comment="milliseconds by step, of a run that completed"),
        sa.Column("cached", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error", JSONB(), nullable=True),
        sa.CheckConstraint("(outcome = 'running') = (finished_at IS NULL)", name=op.f("ck_stage_runs_ended_has_time")),
        sa.CheckConstraint(
            "outcome IN ('running', 'completed', 'given_back', 'failed', 'rewound', 'lost', 'canceled')",
            name=op.f("ck_stage_runs_outcome_known"),
        ),
        sa.CheckConstraint("stage IN ('vision', 'llm', 'pixel')", name=op.f("ck_stage_runs_stage_known")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_stage_runs_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_stage_runs")),
    )
    op.create_index("ix_stage_runs_job", "stage_runs", ["job_id", "started_at"], unique=False)
    op.create_index(
        "uq_stage_runs_running", "stage_runs", ["job_id"], unique=True, postgresql_where=sa.text("outcome = 'running'")
    )
    op.create_table(
        "phrases",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column(
            "n", sa.Integer(), autoincrement=False, nullable=False, comment="counts through all the job's answers"
        ),
        sa.Column("answer", sa.Integer(), nullable=False, comment="the n of its answer"),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("span_start", sa.Integer(), nullable=True, comment="characters into the answer's text"),
        sa.Column("span_end", sa.Integer(), nullable=True),
        sa.Column("rle_counts", sa.Text(), nullable=False, comment="COCO compressed run lengths"),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("box", sa.ARRAY(sa.Double()), nullable=True, comment="x1, y1, x2, y2; none for an empty mask"),
        sa.Column("area", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.CheckConstraint("box IS NULL OR cardinality(box) = 4", name=op.f("ck_phrases_box_has_four")),
        sa.CheckConstraint("num_nulls(span_start, span_end) IN (0, 2)", name=op.f("ck_phrases_span_whole")),
        sa.ForeignKeyConstraint(
            ["job_id", "answer"], ["answers.job_id", "answers.n"], name=op.f("fk_phrases_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "n", name=op.f("pk_phrases")),
    )


def downgrade() -> None:
    op.drop_table("phrases")
    op.drop_table("stage_runs")
    op.drop_table("answers")
    op.drop_table("results")
    op.drop_table("generations")
    op.drop_table("jobs")
    op.drop_table("conversations")
    op.drop_table("images")
