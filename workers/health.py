"""`python -m workers.health`: exit status 0 while every worker of this user on this machine is ready and alive."""

import sys

from shared.health import probe

if __name__ == "__main__":
    sys.exit(probe("worker"))
