"""What `glamm submit` says: of files while they go, of faults by name, and of the batch in the end."""

import json

from rich.console import Console
from rich.progress import TimeRemainingColumn

from services.cli.bulk.ledger import Ledger
from services.cli.bulk.looking import Broken
from services.cli.bulk.plans import InBucket, Plan
from services.cli.bulk.submitting import Options, Submitted, Target, submit, submit_in_bucket
from services.cli.bulk.uploading import Stored
from services.cli.client import Refused
from services.cli.progress import bars
from services.cli.terminal import plural, say
from shared import schema
from shared.errors import InvalidInput

_MOST_LINES = 20
"""Of a refused manifest, that are told of one by one."""


def submit_aloud(
    target: Target, plan: Plan | InBucket, options: Options, ledger: Ledger, err: Console, *, again: bool
) -> Submitted:
    """`submit`, or `submit_in_bucket`, with all that there is to say about it on `err`."""
    try:
        if isinstance(plan, InBucket):
            done = submit_in_bucket(target, plan, options, ledger, again=again)
        else:
            done = _submit_files(target, plan, options, ledger, err, again)
    except KeyboardInterrupt:
        say(err, "Interrupted: the same command goes on from here.")
        raise
    for fault in done.broken:
        say(err, f"✗ {fault.path}: {fault.fault}", style="red")
    _tell(done, err)
    return done


def as_json(done: Submitted, batch: schema.Batch) -> str:
    """batch: as it is by now."""
    told = {
        "batch": batch.model_dump(mode="json"),
        "made": done.made,
        "images": done.images,
        "uploaded": done.sent,
        "skipped": [{"file": str(fault.path), "fault": fault.fault} for fault in done.broken],
    }
    return json.dumps(told)


def _submit_files(target: Target, plan: Plan, options: Options, ledger: Ledger, err: Console, again: bool) -> Submitted:
    broken = 0
    with bars(err, TimeRemainingColumn()) as progress:
        row = progress.add_task("upload", total=len(plan.files), state="")

        def seen(end: Stored | Broken) -> None:
            nonlocal broken
            broken += isinstance(end, Broken)
            progress.update(row, advance=1, state=f"{broken} broken" if broken else "")

        try:
            return submit(target, plan, options, ledger, again=again, seen=seen)
        except Refused as error:
            if not error.problem.lines:
                raise
            _tell_lines(error, plan, err)
            raise _in_words_of_the_command(error) from error


def _tell(done: Submitted, err: Console) -> None:
    counted = f"{plural(done.sent, 'image')} uploaded, {done.there:,} there already"
    broken = plural(len(done.broken), "file")
    if done.detour:
        say(err, "The object store cannot be reached from here: images went through the gateway.", style="yellow")
    if done.batch is None:
        say(err, f"{counted}. {broken} cannot be submitted, so nothing was. --on-invalid skip leaves such files out.")
        return
    left_out = f", {broken} left out" if done.broken else ""
    images = f"{counted}{left_out}: " if done.images else ""
    say(err, f"{images}{plural(done.batch.jobs, 'job')}.")
    if done.batch.invalid_lines:
        say(err, f"{plural(done.batch.invalid_lines, 'line')} left out: `glamm results` tells why.", style="yellow")
    if not done.made:
        say(err, "It was submitted already; --again would submit it once more.")


def _tell_lines(error: Refused, plan: Plan, err: Console) -> None:
    for line in error.problem.lines[:_MOST_LINES]:
        field = f"{line['field']}: " if line["field"] else ""
        say(err, f"✗ {plan.name(line['line'])}: {field}{line['detail']}", style="red")


def _in_words_of_the_command(error: Refused) -> InvalidInput:
    """Beneath the lines that were told."""
    remedy = f"{error.problem.lines[0]['remedy']} Or leave it out with --on-invalid skip."
    return InvalidInput("SOURCE", "What is marked ✗ cannot be submitted, so nothing was.", remedy)
