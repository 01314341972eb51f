"""The pytest fixture ``leadfeeder_sandbox``, which runs a sandbox for a test."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from leadfeeder_async.sandbox import Sandbox


@pytest.fixture
def leadfeeder_sandbox(monkeypatch: pytest.MonkeyPatch) -> Generator[Sandbox]:
    """Run a sandbox without a rate limit during the test.

    The fixture sets ``LEADFEEDER_API_KEY``, ``LEADFEEDER_ACCOUNT_ID`` and ``LEADFEEDER_BASE_URL``, so
    ``AsyncLeadfeeder()`` uses the sandbox. The sandbox runs in a background thread and supports sync tests and async
    tests.
    """
    from leadfeeder_async.sandbox import Sandbox, run_in_thread

    with run_in_thread(Sandbox(companies=50, visits=1_000, rate_limit=False)) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("LEADFEEDER_TRUST_ENV", raising=False)  # a proxy cannot reach the sandbox
        yield sandbox
