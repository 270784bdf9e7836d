"""What came of a batch, as lines of JSON that the database writes itself: page after page, in constant memory.

A page is a query of its own, so a client that reads slowly keeps no transaction open; what finishes meanwhile is in the
next reading. Several pages may be read at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from shared.states import State

_PAGE = 1000


def _object(**fields: str) -> str:
    """SQL for the text of a JSON object, of SQL for its fields' JSON; what is NULL is null.

    Put together, since json_build_object finds out the types of its arguments every time: it takes half as long again.
    """
    written = ", ',".join(f"""\"{name}":', coalesce(({value})::text, 'null')""" for name, value in fields.items())
    return f"concat('{{{written}, '}}')"


def _array(*values: str) -> str:
    """Likewise, of an array; NULL where one of them is."""
    return f"""('[' || {" || ',' || ".join(values)} || ']')"""


# The request as the API shows it, but for fields that were left out.
_REQUEST = """
    jsonb_build_object('task', jobs.task) || CASE jobs.task
        WHEN 'vqa' THEN jobs.inputs - 'prompt' || jsonb_build_object('question', jobs.inputs -> 'prompt')
        WHEN 'ground' THEN jobs.inputs - 'prompt' || jsonb_build_object('caption', jobs.inputs -> 'prompt')
        ELSE jobs.inputs END
"""
_JOB = {
    "line": "jobs.line",
    "custom_id": "to_json(jobs.custom_id)",
    "id": "to_json(jobs.id)",
    "state": "to_json(jobs.state)",
    "image_id": "to_json(jobs.image_id)",
    "source": "to_json(jobs.source)",
    "request": _REQUEST,
}
_IMAGE = f"""
    SELECT {_object(id="to_json(id)", width="width", height="height", media_type="to_json(media_type)")}
    FROM images WHERE id = jobs.image_id AND owner_id = jobs.owner_id
"""
_ANSWER = _object(
    text="to_json(answer.text)",
    span=_array("start", "start + char_length(answer.text)"),
    expression="CASE jobs.task WHEN 'refseg' THEN jobs.inputs -> 'expressions' -> n END",
    box="CASE jobs.task WHEN 'region_caption' THEN jobs.inputs -> 'boxes' -> n END",
    phrases="""
        SELECT '[' || coalesce(string_agg(phrases.n::text, ',' ORDER BY phrases.n), '') || ']' FROM phrases
        WHERE phrases.job_id = jobs.id AND phrases.answer = answer.n
    """,
)
_PHRASE = _object(
    n="n",
    text="to_json(phrases.text)",
    span=_array("said.starts[answer + 1] + span_start", "said.starts[answer + 1] + span_end"),
    mask=_object(size=_array("height", "width"), counts="to_json(rle_counts)"),
    box="to_json(box)",
    area="to_json(area)",
    score="to_json(score)",
)
_RESULT = _object(
    text="to_json(said.text)",
    answers=_array("said.answers"),
    phrases=_array("coalesce(found.phrases, '')"),
    model="to_json(results.model_fingerprint)",
)
_RESULTS = f"""
    SELECT {_object(**_JOB, image=_IMAGE, result=_RESULT)}
    FROM jobs JOIN results ON results.job_id = jobs.id
    CROSS JOIN LATERAL (
        SELECT string_agg(answer.text, E'\n' ORDER BY n) AS text,
            string_agg({_ANSWER}, ',' ORDER BY n) AS answers,
            array_agg(start ORDER BY n) AS starts
        FROM (
            SELECT n, text, sum(char_length(text) + 1) OVER (ORDER BY n) - char_length(text) - 1 AS start
            FROM answers WHERE answers.job_id = jobs.id
        ) AS answer
    ) AS said
    CROSS JOIN LATERAL (
        SELECT string_agg({_PHRASE}, ',' ORDER BY n) AS phrases FROM phrases WHERE phrases.job_id = jobs.id
    ) AS found
    WHERE jobs.batch_id = :batch AND jobs.state = 'succeeded' AND jobs.line > :after AND jobs.line <= :last
    AND jobs.finished_at <= :by
    ORDER BY jobs.line
"""
_FAULT = _object(
    line="line", custom_id="to_json(custom_id)", id="NULL", state="to_json('invalid'::text)", error="problem"
)
_INVALID = f"""
    SELECT {_FAULT}
    FROM batch_errors WHERE batch_id = :batch AND line > :after AND line <= :last ORDER BY line
"""
_UNDONE = f"""
    SELECT {_object(**_JOB, error="jobs.error")}
    FROM jobs WHERE batch_id = :batch AND state = '{{state}}' AND line > :after AND line <= :last
    AND finished_at <= :by
    ORDER BY line
"""


@dataclass(frozen=True)
class _Part:
    """lines: the query for those of a page. among: what the pages are cut of."""

    lines: str
    among: str


def _jobs(state: State, lines: str) -> _Part:
    return _Part(lines, f"jobs WHERE batch_id = :batch AND state = '{state}'")


_RESULTS_PARTS = (_jobs(State.SUCCEEDED, _RESULTS),)
_ERRORS_PARTS = (
    _Part(_INVALID, "batch_errors WHERE batch_id = :batch"),
    *(_jobs(state, _UNDONE.replace("{state}", state)) for state in (State.FAILED, State.CANCELED)),
)
# The last line of every page, and the time.
_CUTS = """
    SELECT line, statement_timestamp() AS by FROM (
        SELECT line, row_number() OVER (ORDER BY line) AS n, count(*) OVER () AS total FROM {among}
    ) AS lines
    WHERE n % :page = 0 OR n = total ORDER BY line
"""


@dataclass(frozen=True)
class Page:
    """Lines of the manifest to be read together: those of one kind behind `after`, up to `last`.

    by: when they were found. What has finished since is not among them, for it might be very many.
    """

    part: _Part
    after: int
    last: int
    by: datetime


def result_pages(conn: Connection, batch_id: UUID) -> list[Page]:
    """Of the results that there are by now, by line."""
    return _pages(conn, batch_id, _RESULTS_PARTS)


def error_pages(conn: Connection, batch_id: UUID) -> list[Page]:
    """Of the lines that were invalid, then the jobs that have failed, then those that were cancelled."""
    return _pages(conn, batch_id, _ERRORS_PARTS)


def page_lines(conn: Connection, batch_id: UUID, page: Page) -> bytes:
    """A line of JSON each; without those that are something else by now."""
    values = {"batch": batch_id, "after": page.after, "last": page.last, "by": page.by}
    return "".join(f"{line}\n" for line in conn.execute(text(page.part.lines), values).scalars()).encode()


def _pages(conn: Connection, batch_id: UUID, parts: Sequence[_Part]) -> list[Page]:
    pages = list[Page]()
    for part in parts:
        after = 0
        for cut in conn.execute(text(_CUTS.format(among=part.among)), {"batch": batch_id, "page": _PAGE}):
            pages.append(Page(part, after, cut.line, cut.by))
            after = cut.line
    return pages
