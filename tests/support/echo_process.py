"""A process that prints its argument and ends with that exit code: ``python -m tests.support.echo_process CODE``.

Instead of a code, ``sleep`` sleeps, and ``describe`` prints the state in which the process starts.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path


def describe() -> str:
    """Return all that a process gets from the process that starts it, as JSON."""
    state = {
        "arguments": sys.argv[1:],
        "name": __name__,
        "folder": str(Path.cwd()),
        "environment": {name: value for name, value in os.environ.items() if name.startswith("LEADFEEDER_")},
        "variables": sorted(os.environ),
        "files": [number for number in range(100) if is_open(number)],
        "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals() - {32, 33})],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, set())),
        "threads": threading.active_count(),
        "warnings": (sys.warnoptions, sys.flags.dev_mode, sys.flags.utf8_mode),
        "streams": [
            (
                stream.name, stream.encoding, stream.errors, stream.isatty(), stream.line_buffering,
                stream.write_through, type(stream.buffer).__name__,
            )
            for stream in (sys.stdin, sys.stdout, sys.stderr)
        ],
    }  # fmt: skip
    return json.dumps(state, indent=1)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    if sys.argv[1] == "sleep":
        time.sleep(60)
    if sys.argv[1] == "describe":
        text = describe()
        print(text, sys.stdin.read())  # noqa: T201
        atexit.register(print, "exit handlers run", file=sys.stderr)
        sys.exit("a message")
    print(sys.argv[1], flush=True)  # noqa: T201
    sys.exit(int(sys.argv[1]))
