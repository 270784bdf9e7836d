"""`python -m services.scheduler`: one scheduler process."""

import os
import signal
import socket
import sys

from services.scheduler.loop import Scheduler
from services.scheduler.webhooks import Deliverer
from shared import logs
from shared.errors import InvalidSettings
from shared.settings import settings_or_exit


def main() -> int:
    settings = settings_or_exit()
    logs.configure("scheduler", settings)
    try:
        deliverer = Deliverer(settings)
    except InvalidSettings as error:
        print(f"{error.detail} {error.remedy}", file=sys.stderr)
        return 2
    scheduler = Scheduler(settings, f"{socket.gethostname()}:{os.getpid()}", beside=[deliverer])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: scheduler.stop())
    with deliverer:
        scheduler.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
