"""Batches: many jobs that came with one request, are watched and steered as one, and give one set of results."""

from shared.batches.creation import INCOMING, MOST_INVALID, create, too_many_invalid
from shared.batches.moves import cancel, pause, resume, retry, work_off
from shared.batches.records import BatchView, JobRow, Line, LineFault, NewBatch, ProblemCount, RowFilter
from shared.batches.results import Position, error_lines, result_lines
from shared.batches.views import get, jobs_page, page, require

__all__ = [
    "INCOMING",
    "MOST_INVALID",
    "BatchView",
    "JobRow",
    "Line",
    "LineFault",
    "NewBatch",
    "Position",
    "ProblemCount",
    "RowFilter",
    "cancel",
    "create",
    "error_lines",
    "get",
    "jobs_page",
    "page",
    "pause",
    "require",
    "result_lines",
    "resume",
    "retry",
    "too_many_invalid",
    "work_off",
]
