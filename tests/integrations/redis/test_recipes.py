"""The recipes for several processes, run as they stand: four workers of a web application, and a sweep by Celery.

Real time: processes are started and a server's clock is shared.
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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
from tests.support.redis_process import Limited

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(120)]


def recipe(page: str, into: Path) -> Path:
    """Put the first ``py`` block of a page into a file."""
    found = re.search(r"^```py\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    into.write_text(found[1])
    return into


@contextmanager
def running(words: list[str], folder: Path, sandbox: Sandbox, redis: RedisServer) -> Iterator[None]:
    """Run a command in a folder until the end of the block."""
    env = {**os.environ, **sandbox.environment, "REDIS_URL": redis.url, "PYTHONPATH": os.pathsep.join(sys.path)}
    env["CELERY_BROKER_URL"] = redis.url
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_four_workers_and_a_bulk_job(redis_server: RedisServer, tmp_path: Path) -> None:
    """Four uvicorn workers and a bulk job send together what one client would, and no request meets a 429."""
    redis_server.execute("FLUSHALL")
    recipe("redis.md", tmp_path / "web.py")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with run_in_thread(Sandbox(companies=5, visits=5)) as sandbox:
        words = ["uvicorn", "web:app", "--workers", "4", "--port", str(port), "--log-level", "error"]
        with running(words, tmp_path, sandbox, redis_server), httpx.Client(timeout=30) as client:
            url = f"http://127.0.0.1:{port}/me"
            wait_for(lambda: client.get(url).status_code == 200)
            bulk = Limited(redis_server.url, sandbox.url, sandbox.api_key, sandbox.account_id, 20, 40, burst_share=0.5)
            bulk.go()
            with ThreadPoolExecutor(20) as people:
                statuses = list(people.map(lambda _: httpx.get(url, timeout=30).status_code, range(40)))
            assert len(bulk.result()["sent"]) == 40
        assert statuses == [200] * 40
        assert sandbox.ledger.rate_limited == 0
        assert sandbox.ledger.count("get_current_user") >= 81


def wait_for(what: Any) -> None:
    """Try until it works."""
    for _ in range(300):
        try:
            if what():
                return
        except (httpx.HTTPError, OSError):
            pass
        time.sleep(0.1)
    raise AssertionError("it does not start")


def test_a_sweep_on_several_workers(redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two Celery workers read two accounts week by week: every visit comes once, in files that a second run keeps."""
    redis_server.execute("FLUSHALL")
    file = recipe("distributed-workers.md", tmp_path / "tasks.py")
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
            waiting = [tasks.sweep.delay(*part, str(tmp_path)) for part in parts]
            files = [one.get(timeout=60) for one in waiting]
            again = [tasks.sweep.delay(*part, str(tmp_path)).get(timeout=60) for part in parts[:1]]
        tasks.app.close()
        assert {visit["id"] for visit in tasks.merged(files)} == set(sandbox.world.visit_ids())
        assert again == files[:1]
        assert sandbox.ledger.rate_limited == 0
