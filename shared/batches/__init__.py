"""Batches: many jobs that came with one request, are watched and steered as one, and give one set of results."""

from shared.batches.creation import INCOMING, MOST_INVALID, create, too_many_invalid
from shared.batches.moves import cancel, pause, resume, retry, work_off
from shared.batches.records import BatchView, JobRow, Line, LineFault, NewBatch, Origin, ProblemCount, RowFilter
from shared.batches.results import Page, error_pages, page_lines, result_pages
from shared.batches.views import get, jobs_page, page, require

__all__ = [
    "INCOMING",
    "MOST_INVALID",
    "BatchView",
    "JobRow",
    "Line",
    "LineFault",
    "NewBatch",
    "Origin",
    "Page",
    "ProblemCount",
    "RowFilter",
    "cancel",
    "create",
    "error_pages",
    "get",
    "jobs_page",
    "page",
    "page_lines",
    "pause",
    "require",
    "result_pages",
    "resume",
    "retry",
    "too_many_invalid",
    "work_off",
]
