"""A process that runs the ``leadfeeder`` command: ``python -m tests.support.command_process SIGINT ARGUMENTS``.

The first argument is ``handle`` or ``ignore``: whether SIGINT is handled, as in the foreground of a shell, or ignored, as
in the background. A fork server imports the modules of all commands once.
"""

from __future__ import annotations

import signal
import sys

import aiohttp  # noqa: F401 - commands import it when they run

import leadfeeder_async.cli.app
import leadfeeder_async.client
import leadfeeder_async.jobs.bulk.bulk_change
import leadfeeder_async.jobs.enrich.enrichment
import leadfeeder_async.report
import leadfeeder_async.sandbox
import leadfeeder_async.sync  # noqa: F401
import tests.support.duckdb_preload  # noqa: F401
from leadfeeder_async.cli import main

if __name__ == "__main__":
    handlers = {"handle": signal.default_int_handler, "ignore": signal.SIG_IGN}
    signal.signal(signal.SIGINT, handlers[sys.argv.pop(1)])
    sys.argv[0] = "leadfeeder"
    main()
