"""Run a sandbox in a thread, for tests without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread

from leadfeeder_async.sandbox.server import Sandbox


@contextmanager
def run_in_thread(sandbox: Sandbox) -> Generator[Sandbox]:
    """Run a sandbox in a background thread until the ``with`` block ends.

    ::

        with run_in_thread(Sandbox(companies=50)) as sandbox:
            subprocess.run(["leadfeeder", "doctor"], env={**os.environ, **sandbox.environment}, check=True)

    Args:
        sandbox: The sandbox to run. It must not be running yet.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # without the loop of the caller
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
