"""Several processes with one API key. The rate limit of the sandbox judges them.

All tests run in real time, because the clocks of the processes, of Redis and of the sandbox cannot be virtual together.
The sandbox allows more requests per second than the API, so that the tests are short. The ratios are those of the API:
9.9 to 10 requests per second, and bursts of 12 to 15.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sandbox.threads import run_in_thread
from tests.support.redis import RedisServer
from tests.support.redis_process import RedisProcess

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(120)]

RATE = 29.7


@pytest.fixture
def judge() -> Iterator[Sandbox]:
    """A sandbox that allows 30 requests per second and a burst of 15."""
    with run_in_thread(Sandbox(companies=5, visits=5, rate=30, burst=15)) as sandbox:
        yield sandbox


def start_processes(redis: RedisServer, judge: Sandbox, count: int, calls: int, **options: float) -> list[RedisProcess]:
    """Start processes of which the first has a clock that is an hour ahead."""
    arguments = (redis.url, judge.url, judge.api_key, judge.account_id, 60, calls)
    clocks = [3_600 * (index == 0) for index in range(count)]
    processes = [RedisProcess(*arguments, rate=RATE, **{**options, "clock": clock}) for clock in clocks]
    for process in processes:
        process.wait_until_ready()
    return processes


def test_four_processes_share_one_rate(redis_server: RedisServer, judge: Sandbox) -> None:
    """Four processes reach the configured rate together, with fair shares and without a 429."""
    processes = start_processes(redis_server, judge, 4, 60)
    for process in processes:
        process.start_calls()
    results = [process.result() for process in processes]
    sent = sorted(moment for result in results for moment in result["sent"])
    assert len(sent) == 240
    assert judge.ledger.rate_limited == 0
    assert (len(sent) - 1) / (sent[-1] - sent[0]) == pytest.approx(RATE, rel=0.03)
    half = sent[120]
    for result in results:
        assert sum(moment <= half for moment in result["sent"]) == pytest.approx(121 / 4, rel=0.2)
    assert sum(result["server_calls"] for result in results) <= 240 + 4  # one per request, and each script sent once


def test_killed_process_loses_one_token(redis_server: RedisServer, judge: Sandbox) -> None:
    """If one of four processes is killed, the others do not wait for long and use its share at once."""
    processes = start_processes(redis_server, judge, 4, 50)
    for process in processes:
        process.start_calls()
    time.sleep(2.5)
    killed = time.monotonic()
    processes[1].kill()
    results = [process.result() for index, process in enumerate(processes) if index != 1]
    sent = sorted(moment for result in results for moment in result["sent"])
    assert len(sent) == 150
    assert judge.ledger.rate_limited == 0
    after = [moment for moment in sent if moment > killed]
    assert len(after) > 30
    assert max(later - earlier for earlier, later in pairwise(after)) < 1
    assert (len(after) - 1) / (after[-1] - after[0]) == pytest.approx(RATE, rel=0.05)


def test_all_calls_succeed_despite_redis_faults(redis_server: RedisServer, judge: Sandbox) -> None:
    """Every call is made without a 429 while Redis pauses, loses its scripts and its data, and restarts."""
    processes = start_processes(redis_server, judge, 2, 120, timeout=0.3)
    for process in processes:
        process.start_calls()
    time.sleep(1.5)
    redis_server.execute("CLIENT", "PAUSE", 600)
    time.sleep(1)
    redis_server.execute("SCRIPT", "FLUSH")
    time.sleep(0.3)
    redis_server.execute("FLUSHALL")
    time.sleep(1.5)
    redis_server.kill()
    time.sleep(0.5)
    redis_server.start()
    assert sum(len(process.result()["sent"]) for process in processes) == 240
    assert judge.ledger.rate_limited == 0


def test_bulk_job_leaves_burst_to_others(redis_server: RedisServer, judge: Sandbox) -> None:
    """While a bulk job uses all it can, six calls of another process do not wait for tokens, and no 429 occurs."""
    address = (redis_server.url, judge.url, judge.api_key, judge.account_id)
    bulk = RedisProcess(*address, 60, 120, rate=RATE, burst_share=0.5)
    web = RedisProcess(*address, 6, 6, rate=RATE)
    web.wait_until_ready()
    bulk.start_calls()
    time.sleep(2.5)
    started = time.monotonic()
    web.start_calls()
    elapsed = max(web.result()["sent"]) - started
    sent = sorted(bulk.result()["sent"])
    assert elapsed < 0.5 * 6 / RATE + 0.1
    assert (len(sent) - 1 + 6) / (sent[-1] - sent[0]) == pytest.approx(RATE, rel=0.1)
    assert judge.ledger.rate_limited == 0
