"""The jobs of a batch, page by page."""

import pytest

from services.scheduler.exports import read
from shared.tasks import Ask, Task
from shared.transactions import Transactions
from tests.batches import HEIGHT, WIDTH, Batches, grounded

IMAGES = ["cd" * 32, "ab" * 32, "ef" * 32]


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_every_succeeded_job_comes_once_by_image_and_line(
    batches: Batches, transactions: Transactions, page: int
) -> None:
    batch, other = batches.add(), batches.add()
    done = [(IMAGES[n % 3], batches.done(batch, IMAGES[n % 3], custom_id=f"job {n}")) for n in range(6)]
    batches.done(other)
    batches.queue(batch)
    found = list(read(transactions, batch, page))
    assert [job.id for job in found] == [job_id for _, job_id in sorted(done, key=lambda one: (one[0], one[1]))]
    assert [job.line for job in found] == [2, 5, 1, 4, 3, 6]
    assert found[0].custom_id == "job 1"


def test_a_job_comes_with_its_image_request_and_result(batches: Batches, transactions: Transactions) -> None:
    batch = batches.add()
    job_id = batches.queue(batch, ask=Ask(Task.GROUND, "A cat sleeps.", phrases=("A cat",)))
    batches.succeed(job_id)
    (job,) = read(transactions, batch)
    assert (job.image.file_name, job.image.width, job.image.height) == ("ab" * 32 + ".png", WIDTH, HEIGHT)
    assert job.ask == Ask(Task.GROUND, "A cat sleeps.", phrases=("A cat",))
    assert job.result == grounded()
    assert job.custom_id is None


def test_a_batch_without_results_has_no_jobs(batches: Batches, transactions: Transactions) -> None:
    batch = batches.add()
    batches.queue(batch)
    assert list(read(transactions, batch)) == []
