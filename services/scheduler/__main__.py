"""`python -m services.scheduler`: one scheduler process."""

import os
import signal
import socket

from services.scheduler.loop import Scheduler
from services.scheduler.webhooks import Deliverer
from shared.errors import InvalidSettings
from shared.starting import begin, refuse


def main() -> None:
    settings = begin("scheduler")
    try:
        deliverer = Deliverer(settings)
    except InvalidSettings as error:
        refuse("scheduler", error)
    scheduler = Scheduler(settings, f"{socket.gethostname()}:{os.getpid()}", beside=[deliverer])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: scheduler.stop())
    with deliverer:
        scheduler.run()


if __name__ == "__main__":
    main()
