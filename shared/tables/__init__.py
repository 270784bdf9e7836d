"""The tables, with the rules a row must keep whatever code writes it.

A module has a name in the singular, for the plural is a table's: `shared.tables.jobs` is the table.
"""

from shared.tables.access import LOCAL_OWNER, api_keys, owners
from shared.tables.base import metadata
from shared.tables.batch import batch_errors, batches, exports
from shared.tables.idempotency import idempotency_keys
from shared.tables.image import images, uploads
from shared.tables.job import conversations, jobs, stage_runs
from shared.tables.result import answers, generations, phrases, results
from shared.tables.webhook import webhook_deliveries, webhook_endpoints

__all__ = [
    "LOCAL_OWNER",
    "answers",
    "api_keys",
    "batch_errors",
    "batches",
    "conversations",
    "exports",
    "generations",
    "idempotency_keys",
    "images",
    "jobs",
    "metadata",
    "owners",
    "phrases",
    "results",
    "stage_runs",
    "uploads",
    "webhook_deliveries",
    "webhook_endpoints",
]
