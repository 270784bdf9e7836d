"""What came of a batch, as lines of JSON that the database writes itself: page after page, in constant memory.

A page is a query of its own, so a client that reads slowly keeps no transaction open; what finishes behind the reader
is in the next reading.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from shared.states import State

_PAGE = 1000

# The request as the API shows it, but for fields that were left out.
_REQUEST = """
    jsonb_build_object('task', jobs.task) || CASE jobs.task
        WHEN 'vqa' THEN jobs.inputs - 'prompt' || jsonb_build_object('question', jobs.inputs -> 'prompt')
        WHEN 'ground' THEN jobs.inputs - 'prompt' || jsonb_build_object('caption', jobs.inputs -> 'prompt')
        ELSE jobs.inputs END
"""
_JOB = f"""
    'line', jobs.line, 'custom_id', jobs.custom_id, 'id', jobs.id, 'state', jobs.state, 'image_id', jobs.image_id,
    'source', jobs.source, 'request', {_REQUEST}
"""
_RESULTS = f"""
    SELECT jobs.line, json_build_object(
        {_JOB},
        'image', (
            SELECT json_build_object('id', id, 'width', width, 'height', height, 'media_type', media_type)
            FROM images WHERE id = jobs.image_id AND owner_id = jobs.owner_id
        ),
        'result', json_build_object(
            'text', said.text, 'answers', said.answers, 'phrases', coalesce(found.phrases, '[]'),
            'model', results.model_fingerprint
        )
    )::text
    FROM jobs JOIN results ON results.job_id = jobs.id
    CROSS JOIN LATERAL (
        SELECT string_agg(answer.text, E'\n' ORDER BY n) AS text,
            json_agg(json_build_object(
                'text', answer.text,
                'span', json_build_array(start, start + char_length(answer.text)),
                'expression', CASE jobs.task WHEN 'refseg' THEN jobs.inputs -> 'expressions' -> n END,
                'box', CASE jobs.task WHEN 'region_caption' THEN jobs.inputs -> 'boxes' -> n END,
                'phrases', coalesce(
                    (SELECT json_agg(phrases.n ORDER BY phrases.n) FROM phrases
                     WHERE phrases.job_id = jobs.id AND phrases.answer = answer.n), '[]')
            ) ORDER BY n) AS answers,
            array_agg(start ORDER BY n) AS starts
        FROM (
            SELECT n, text, sum(char_length(text) + 1) OVER (ORDER BY n) - char_length(text) - 1 AS start
            FROM answers WHERE answers.job_id = jobs.id
        ) AS answer
    ) AS said
    CROSS JOIN LATERAL (
        SELECT json_agg(json_build_object(
            'n', n, 'text', phrases.text,
            'span', CASE WHEN span_start IS NOT NULL THEN json_build_array(
                said.starts[answer + 1] + span_start, said.starts[answer + 1] + span_end) END,
            'mask', json_build_object('size', json_build_array(height, width), 'counts', rle_counts),
            'box', box, 'area', area, 'score', score
        ) ORDER BY n) AS phrases
        FROM phrases WHERE phrases.job_id = jobs.id
    ) AS found
    WHERE jobs.batch_id = :batch AND jobs.state = 'succeeded' AND jobs.line > :after ORDER BY jobs.line LIMIT :limit
"""
_INVALID = """
    SELECT line, json_build_object(
        'line', line, 'custom_id', custom_id, 'id', NULL, 'state', 'invalid', 'error', problem
    )::text
    FROM batch_errors WHERE batch_id = :batch AND line > :after ORDER BY line LIMIT :limit
"""
_UNDONE = f"""
    SELECT jobs.line, json_build_object({_JOB}, 'error', jobs.error)::text
    FROM jobs WHERE batch_id = :batch AND state = '{{state}}' AND line > :after ORDER BY line LIMIT :limit
"""
_ERRORS = (_INVALID, *(_UNDONE.format(state=state) for state in (State.FAILED, State.CANCELED)))


@dataclass(frozen=True)
class Position:
    """Where a reading is: behind a line of one of its parts. None of them is left where `part` counts beyond them."""

    part: int = 0
    after: int = 0


def result_lines(conn: Connection, batch_id: UUID, position: Position) -> tuple[bytes, Position | None]:
    """The next results, by line, a line of JSON each; and where to go on, None at the end."""
    return _read(conn, (_RESULTS,), batch_id, position)


def error_lines(conn: Connection, batch_id: UUID, position: Position) -> tuple[bytes, Position | None]:
    """The same of the lines that were invalid, then the jobs that failed, then those that were cancelled."""
    return _read(conn, _ERRORS, batch_id, position)


def _read(
    conn: Connection, parts: tuple[str, ...], batch_id: UUID, position: Position
) -> tuple[bytes, Position | None]:
    values = {"batch": batch_id, "after": position.after, "limit": _PAGE}
    rows = conn.execute(text(parts[position.part]), values).all()
    lines = "".join(f"{line}\n" for _, line in rows).encode()
    if len(rows) == _PAGE:
        return lines, Position(position.part, rows[-1][0])
    following = position.part + 1
    return lines, Position(following) if following < len(parts) else None
