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

_PAGE = 100
"""Lines that are read together: a query costs little beside them, and they fit where each has megabytes of masks."""


# A JSON text is put together by one call of concat: json_build_object finds out the types of its arguments every time,
# and takes half as long again. What stands for a value is therefore a list of concat's arguments, in SQL; there are
# lists of one. concat leaves out what is NULL, so whatever may be says so.
def _object(**fields: str) -> str:
    """The arguments that write a JSON object, of those that write its fields."""
    written = ", ',".join(f"""\"{name}":', {value}""" for name, value in fields.items())
    return f"'{{{written}, '}}'"


def _array(*values: str) -> str:
    """Likewise, a JSON array."""
    return f"""'[', {", ',', ".join(values)}, ']'"""


def _or_null(arguments: str, where: str) -> str:
    """Likewise, null unless `where` holds."""
    return f"CASE WHEN {where} THEN concat({arguments}) ELSE 'null' END"


def _json_or_null(value: str) -> str:
    """Likewise, of anything that to_json takes; null for NULL."""
    return f"coalesce(to_json({value})::text, 'null')"


# The request as the API shows it, but for fields that were left out.
_REQUEST = """
    jsonb_build_object('task', jobs.task) || CASE jobs.task
        WHEN 'vqa' THEN jobs.inputs - 'prompt' || jsonb_build_object('question', jobs.inputs -> 'prompt')
        WHEN 'ground' THEN jobs.inputs - 'prompt' || jsonb_build_object('caption', jobs.inputs -> 'prompt')
        ELSE jobs.inputs END
"""
_JOB = {
    "line": "jobs.line",
    "custom_id": _json_or_null("jobs.custom_id"),
    "id": "to_json(jobs.id)",
    "state": "to_json(jobs.state)",
    "image_id": _json_or_null("jobs.image_id"),
    "source": _json_or_null("jobs.source"),
    "request": _REQUEST,
}
_IMAGE = f"""
    SELECT concat({_object(id="to_json(id)", width="width", height="height", media_type="to_json(media_type)")})
    FROM images WHERE id = jobs.image_id AND owner_id = jobs.owner_id
"""
_ANSWER = _object(
    text="to_json(answer.text)",
    span=_array("answer.start", "answer.start + char_length(answer.text)"),
    expression=_json_or_null("CASE jobs.task WHEN 'refseg' THEN jobs.inputs -> 'expressions' -> answer.n END"),
    box=_json_or_null("CASE jobs.task WHEN 'region_caption' THEN jobs.inputs -> 'boxes' -> answer.n END"),
    phrases=_array("found.numbers"),
)
_PHRASE = _object(
    n="phrases.n",
    text=_json_or_null("phrases.text"),
    span=_or_null(_array("answer.start + span_start", "answer.start + span_end"), "span_start IS NOT NULL"),
    mask=_object(size=_array("height", "width"), counts="to_json(rle_counts)"),
    box=_json_or_null("box"),
    area="area",
    score="to_json(score)",
)
_RESULT = _object(
    text="to_json(said.text)",
    answers=_array("said.answers"),
    phrases=_array("said.phrases"),
    model="(SELECT to_json(model_fingerprint) FROM results WHERE results.job_id = jobs.id)",
)
# Phrases are numbered through all answers, so those of the first come first.
_RESULTS = f"""
    SELECT concat({_object(**_JOB, image=f"coalesce(({_IMAGE}), 'null')", result=_RESULT)}) AS line
    FROM jobs CROSS JOIN LATERAL (
        SELECT string_agg(answer.text, E'\n' ORDER BY answer.n) AS text,
            string_agg(concat({_ANSWER}), ',' ORDER BY answer.n) AS answers,
            string_agg(found.phrases, ',' ORDER BY answer.n) AS phrases
        FROM (
            SELECT n, text, sum(char_length(text) + 1) OVER (ORDER BY n) - char_length(text) - 1 AS start
            FROM answers WHERE answers.job_id = jobs.id
        ) AS answer
        CROSS JOIN LATERAL (
            SELECT string_agg(phrases.n::text, ',' ORDER BY phrases.n) AS numbers,
                string_agg(concat({_PHRASE}), ',' ORDER BY phrases.n) AS phrases
            FROM phrases WHERE phrases.job_id = jobs.id AND phrases.answer = answer.n
        ) AS found
    ) AS said
    WHERE jobs.batch_id = :batch AND jobs.state = 'succeeded' AND jobs.line > :after AND jobs.line <= :last
    AND jobs.finished_at <= :by
    ORDER BY jobs.line
"""
_FAULT = _object(
    line="line", custom_id=_json_or_null("custom_id"), id="'null'", state="""'"invalid"'""", error="problem"
)
_INVALID = f"""
    SELECT concat({_FAULT}) AS line
    FROM batch_errors WHERE batch_id = :batch AND batch_errors.line > :after AND batch_errors.line <= :last
    ORDER BY batch_errors.line
"""
_UNDONE = f"""
    SELECT concat({_object(**_JOB, error=_json_or_null("jobs.error"))}) AS line
    FROM jobs WHERE batch_id = :batch AND state = '{{state}}' AND jobs.line > :after AND jobs.line <= :last
    AND finished_at <= :by
    ORDER BY jobs.line
"""
# As one value: to hand over each line by itself costs the client of the database more than it costs to write.
_PAGE_OF = """
    SELECT coalesce(string_agg(line || E'\n', ''), '') FROM ({lines}) AS page
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
    written: str = conn.execute(text(_PAGE_OF.format(lines=page.part.lines)), values).scalar_one()
    return written.encode()


def _pages(conn: Connection, batch_id: UUID, parts: Sequence[_Part]) -> list[Page]:
    pages = list[Page]()
    for part in parts:
        after = 0
        for cut in conn.execute(text(_CUTS.format(among=part.among)), {"batch": batch_id, "page": _PAGE}):
            pages.append(Page(part, after, cut.line, cut.by))
            after = cut.line
    return pages
