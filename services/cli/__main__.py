"""The process of `glamm`: an interrupt at any moment, the imports' included, is an exit code and never a trace."""

import sys

from services.cli import interrupts


def run() -> None:
    interrupts.take()
    try:
        from services.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(interrupts.EXIT_CODE)
    finally:
        interrupts.give_back()


if __name__ == "__main__":
    run()
