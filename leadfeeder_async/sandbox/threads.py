"""A sandbox beside the caller's own event loop, or beside none."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread

from leadfeeder_async.sandbox.server import Sandbox


@contextmanager
def run_in_thread(sandbox: Sandbox) -> Generator[Sandbox]:
    """Run a sandbox in a thread of its own for the time of a ``with`` block."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(sandbox.__aenter__())
        thread = Thread(target=loop.run_forever, name="leadfeeder-sandbox", daemon=True)
        thread.start()
        try:
            yield sandbox
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            runner.run(sandbox.__aexit__(None, None, None))
