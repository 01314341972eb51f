"""A process that prints its argument and ends with that exit code, or sleeps: ``python -m tests.support.echo_process CODE``."""

from __future__ import annotations

import sys
import time

if __name__ == "__main__":
    if sys.argv[1] == "sleep":
        time.sleep(60)
    print(sys.argv[1], flush=True)  # noqa: T201
    sys.exit(int(sys.argv[1]))
