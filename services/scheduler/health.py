"""`python -m services.scheduler.health`: exit status 0 while every scheduler of this user on this machine is alive."""

import sys

from shared.health import probe

if __name__ == "__main__":
    sys.exit(probe("scheduler"))
