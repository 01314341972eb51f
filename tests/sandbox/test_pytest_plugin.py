"""Tests for the ``leadfeeder_sandbox`` fixture."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.sandbox import Sandbox

USER_TESTS = """
from leadfeeder_async import AsyncLeadfeeder

async def hot_companies():
    async with AsyncLeadfeeder() as lf:
        return [company.id async for company in lf.companies.search(search_terms=["robotik"])]

def test_hot_companies(leadfeeder_sandbox):
    import asyncio
    assert asyncio.run(hot_companies())
    assert leadfeeder_sandbox.ledger.credits_charged == 0
"""


def test_fixture_without_configuration(tmp_path: Path) -> None:
    """A test suite elsewhere can use the fixture without imports or configuration."""
    (tmp_path / "test_hot_companies.py").write_text(USER_TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=tmp_path)
    assert "1 passed" in process.stdout, process.stdout + process.stderr


def test_fixture_behind_a_proxy(tmp_path: Path) -> None:
    """A proxy of the environment is not used, because it cannot reach the sandbox."""
    (tmp_path / "test_hot_companies.py").write_text(USER_TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {**os.environ, "LEADFEEDER_TRUST_ENV": "1", "HTTP_PROXY": "http://127.0.0.1:9"}
    process = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=tmp_path, env=environment)
    assert "1 passed" in process.stdout, process.stdout + process.stderr


async def test_fixture_in_async_test(leadfeeder_sandbox: Sandbox) -> None:
    """The fixture's sandbox serves a client in the event loop of the test."""
    async with AsyncLeadfeeder() as lf:
        await asyncio.gather(*(lf.users.me() for _ in range(5)))
    assert leadfeeder_sandbox.ledger.count("get_current_user") == 5
