"""What the model wrote for a job, and what a finished one found where."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
)

from shared.tables.base import metadata

generations = Table(
    "generations",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False, comment="which of the job's answers, from 0"),
    Column("text", Text, nullable=False),
    Column("token_ids", ARRAY(Integer), nullable=False),
    Column("prompt_vectors", LargeBinary, nullable=False, comment="float32, little endian, row after row"),
    Column("n_vectors", Integer, nullable=False),
    Column("dim", Integer, nullable=False),
    CheckConstraint("octet_length(prompt_vectors) = 4 * n_vectors * dim", name="vectors_whole"),
)

results = Table(
    "results",
    metadata,
    Column("job_id", Uuid, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("model_fingerprint", Text, nullable=False),
)

answers = Table(
    "answers",
    metadata,
    Column("job_id", Uuid, ForeignKey("results.job_id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False, comment="for reading, without markup"),
    Column("raw_text", Text, nullable=False, comment="as the model wrote it"),
)

phrases = Table(
    "phrases",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False, comment="counts through all the job's answers"),
    Column("answer", Integer, nullable=False, comment="the n of its answer"),
    Column("text", Text),
    Column("span_start", Integer, comment="characters into the answer's text"),
    Column("span_end", Integer),
    Column("rle_counts", Text, nullable=False, comment="COCO compressed run lengths"),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("box", ARRAY(Double), comment="x1, y1, x2, y2; none for an empty mask"),
    Column("area", BigInteger, nullable=False),
    Column("score", Double, nullable=False),
    CheckConstraint("num_nulls(span_start, span_end) IN (0, 2)", name="span_whole"),
    CheckConstraint("box IS NULL OR cardinality(box) = 4", name="box_has_four"),
    ForeignKeyConstraint(["job_id", "answer"], ["answers.job_id", "answers.n"], ondelete="CASCADE"),
)
