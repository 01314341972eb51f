"""Fixtures for all tests: an empty environment, a virtual clock, a sandbox, its client and a Redis server."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async._core import retry
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for
from tests.support.clock import VirtualLoop
from tests.support.examples import DEFAULT_EXAMPLES
from tests.support.markers import markers_of
from tests.support.redis import RedisServer, require_redis
from tests.support.requirements import is_windows

if TYPE_CHECKING:
    from playwright.sync_api import Browser

hypothesis.settings.register_profile("default", deadline=None, max_examples=DEFAULT_EXAMPLES)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2_000)
hypothesis.settings.register_profile(
    "mutants", deadline=None, max_examples=30, derandomize=True, database=None, phases=[hypothesis.Phase.generate]
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    """Ignore sockets that asyncio leaves open on Windows if a server is closed while it accepts a connection."""
    if is_windows:
        config.addinivalue_line("filterwarnings", r"ignore:unclosed <socket\.socket:ResourceWarning")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the markers that follow from the code of each test."""
    for item in items:
        for marker in markers_of(item):
            item.add_marker(marker)


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> None:
    """Exclude earlier objects, such as modules, from garbage collection, which would search them in vain each time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let the garbage collector free everything at the end, because extension modules report leaks otherwise."""
    gc.unfreeze()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LEADFEEDER_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first retry of a call wait at most one millisecond."""
    monkeypatch.setattr(retry, "INITIAL_BACKOFF", 0.001)


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    """A loop on a virtual clock. ``run_until_complete`` runs coroutines on it."""
    loop = VirtualLoop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A small sandbox without a rate limit."""
    async with Sandbox(companies=60, visits=500, rate_limit=False) as running:
        yield running


@pytest.fixture
async def lf(sandbox: Sandbox) -> AsyncIterator[AsyncLeadfeeder]:
    """A client of the sandbox."""
    async with client_for(sandbox) as client:
        yield client


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """An empty Redis server. Without one the test is skipped, or fails if ``REQUIRE_REDIS`` is set."""
    require_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of the system."""
    from tests.support.browser import chromium  # few tests need Playwright

    with chromium() as running:
        yield running
