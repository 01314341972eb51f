"""The recipes for several processes run as they are documented: web workers, and Celery workers with several accounts.

Real time, because processes are started and a server's clock is shared.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sandbox.threads import run_in_thread
from tests.support.paths import DOCS
from tests.support.redis import RedisServer
from tests.support.redis_process import RedisProcess

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(120)]


def write_recipe(page: str, path: Path) -> Path:
    """Write the first ``py`` block of a page to a file."""
    block = re.search(r"^```py\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert block is not None
    path.write_text(block[1], encoding="utf-8")
    return path


@contextmanager
def running(command: list[str], folder: Path, sandbox: Sandbox, redis: RedisServer) -> Iterator[None]:
    """Run a Python module in a folder until the end of the block."""
    environment = {**os.environ, **sandbox.environment, "REDIS_URL": redis.url, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["CELERY_BROKER_URL"] = redis.url
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true, and ignore connection errors meanwhile."""
    for _ in range(300):
        try:
            if condition():
                return
        except (httpx.HTTPError, OSError):
            pass
        time.sleep(0.1)
    raise AssertionError("the server did not start within 30 s")


def test_web_workers_and_bulk_job(redis_server: RedisServer, tmp_path: Path) -> None:
    """Four uvicorn workers and a bulk job share one rate limit, and no request gets a 429."""
    redis_server.execute("FLUSHALL")
    write_recipe("redis.md", tmp_path / "web.py")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with run_in_thread(Sandbox(companies=5, visits=5)) as sandbox:
        command = ["uvicorn", "web:app", "--workers", "4", "--port", str(port), "--log-level", "error"]
        with running(command, tmp_path, sandbox, redis_server), httpx.Client(timeout=30) as client:
            url = f"http://127.0.0.1:{port}/me"
            wait_for(lambda: client.get(url).status_code == 200)
            address = (redis_server.url, sandbox.url, sandbox.api_key, sandbox.account_id)
            bulk = RedisProcess(*address, 20, 40, burst_share=0.5)
            bulk.start_calls()
            with ThreadPoolExecutor(20) as threads:
                statuses = list(threads.map(lambda _: httpx.get(url, timeout=30).status_code, range(40)))
            assert len(bulk.result()["sent"]) == 40
        assert statuses == [200] * 40
        assert sandbox.ledger.rate_limited == 0
        assert sandbox.ledger.count("get_current_user") >= 81


def test_celery_workers_read_several_accounts(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two Celery workers read two accounts by week. Each visit is read once, and a repeated task keeps its file."""
    redis_server.execute("FLUSHALL")
    file = write_recipe("distributed-workers.md", tmp_path / "tasks.py")
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    with run_in_thread(Sandbox(companies=9, visits=300, days=20, accounts=2)) as sandbox:
        for name, value in sandbox.environment.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("tasks", file)
        assert spec is not None
        assert spec.loader is not None
        tasks: Any = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "tasks", tasks)
        spec.loader.exec_module(tasks)
        parts = list(tasks.parts(sandbox.account_ids, sandbox.start_date, sandbox.end_date))
        assert len(parts) == 6
        worker = ["celery", "-A", "tasks", "worker", "--concurrency", "2", "--loglevel", "error"]
        with (
            running([*worker, "-n", "one"], tmp_path, sandbox, redis_server),
            running([*worker, "-n", "two"], tmp_path, sandbox, redis_server),
        ):
            results = [tasks.sweep.delay(*part, str(tmp_path)) for part in parts]
            files = [result.get(timeout=60) for result in results]
            repeated = [tasks.sweep.delay(*part, str(tmp_path)).get(timeout=60) for part in parts[:1]]
        del results
        gc.collect()  # results unsubscribe when they are deleted, for which Redis must still run
        tasks.app.close()
        assert sandbox.ledger.rate_limited == 0
        assert {visit["id"] for visit in tasks.merged(files)} == set(sandbox.world.visit_ids())
        assert repeated == files[:1]
