"""Run the command with ``python -m leadfeeder_async``."""

import sys

from leadfeeder_async.cli import main

if __name__ == "__main__":
    sys.argv[0] = "leadfeeder"  # as the messages of the command name it
    main()
