"""The pytest fixture ``leadfeeder_sandbox``: a running sandbox, for tests of any async plugin, or of none."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from leadfeeder_async.sandbox import Sandbox


@pytest.fixture
def leadfeeder_sandbox(monkeypatch: pytest.MonkeyPatch) -> Generator[Sandbox]:
    """Run a sandbox beside the test, without a rate limit, and point the environment at it.

    It runs in a thread of its own, so it serves sync and async tests alike; ``AsyncLeadfeeder()`` finds it by itself.
    """
    from leadfeeder_async.sandbox import Sandbox, run_in_thread

    with run_in_thread(Sandbox(companies=50, visits=1_000, rate_limit=False)) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        yield sandbox
