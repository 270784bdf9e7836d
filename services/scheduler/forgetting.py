"""What is kept for a time alone, and deleted once that is over."""

from shared import idempotency
from shared.logs import get_logger
from shared.transactions import Transactions

log = get_logger(__name__)


def forget(transactions: Transactions) -> None:
    """Delete the answers that no repetition of their requests gets any more. Raises Unavailable."""
    answers = transactions.run(idempotency.sweep)
    if answers:
        log.info("answers.forgotten", answers=answers)
