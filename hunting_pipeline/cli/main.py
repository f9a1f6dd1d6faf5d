"""Where the command line begins and ends: every error of the package is one line and an exit code."""

import logging
import os
import sys

from hunting_pipeline.cli.app import app, complain, exit_code
from hunting_pipeline.errors import HuntingError

__all__ = ["main"]

_INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended."""


def main() -> None:
    """Run `hunting` and end the process."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()
    except HuntingError as error:
        complain(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.stderr.write("hunting: interrupted; what was fetched is staged, the next run takes it up\n")
        sys.stderr.flush()
        os._exit(_INTERRUPTED)  # calls under way may hold their threads for minutes


if __name__ == "__main__":
    main()
