"""Sandboxes for tests of the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest

from leadfeeder_async.sandbox import Sandbox

LAST_DAY = date(2026, 11, 20)


@pytest.fixture
async def export_sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox with eight pages of visits."""
    async with Sandbox(companies=40, visits=730, rate_limit=False) as running:
        yield running


@pytest.fixture
async def quarter() -> AsyncIterator[Sandbox]:
    """A sandbox with visits in the 90 days before a fixed day."""
    async with Sandbox(companies=40, visits=260, days=90, end_date=LAST_DAY, rate_limit=False) as running:
        yield running
