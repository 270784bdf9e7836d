"""Starts worker processes fast: imports what they need once, then forks one for each line that it reads.

Each child runs `workers.__main__.main` as `python -m workers` would, or another program, in a process of its own that
can be killed. A line is JSON: {"start": arguments, "program": name, "environment": variables, "log": path} is answered
with the pid, and {"wait": pid, "seconds": time} with the exit status, or null when the process is still there then.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback

import hanging_worker
import stepwise_worker

import workers.__main__
import workers.llm
import workers.pixel
import workers.process
import workers.vision

_PR_SET_PDEATHSIG = 1

PROGRAMS = {"worker": workers.__main__.main, "hanging": hanging_worker.main, "stepwise": stepwise_worker.main}


def child(order: dict[str, object]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # no worker outlives the tests
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    status = 70
    try:
        status = PROGRAMS[str(order["program"])](order["start"])  # type: ignore[arg-type]
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


for line in sys.stdin:
    order = json.loads(line)
    if "start" in order:
        pid = os.fork()
        if pid == 0:
            child(order)
        print(pid, flush=True)
    else:
        deadline = time.monotonic() + order["seconds"]
        ended, status = os.waitpid(order["wait"], os.WNOHANG)
        while not ended and time.monotonic() < deadline:
            time.sleep(0.02)
            ended, status = os.waitpid(order["wait"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if ended else None), flush=True)
