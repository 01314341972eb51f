"""Several processes on one key: the sandbox's own bucket is the judge.

All here run in real time: the processes' clocks, the server's and the sandbox's cannot be made virtual together. The
sandbox is faster than the API, so that the tests are short; the proportions are the API's, 9.9 to 10 and 12 to 15.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sandbox.threads import run_in_thread
from tests.support.redis import RedisServer
from tests.support.redis_process import Limited

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(120)]

RATE = 29.7


@pytest.fixture
def judge() -> Iterator[Sandbox]:
    """A sandbox with a bucket of 30 a second and a burst of 15."""
    with run_in_thread(Sandbox(companies=5, visits=5, rate=30)) as sandbox:
        yield sandbox


def processes(redis: RedisServer, judge: Sandbox, count: int, calls: int, **options: float) -> list[Limited]:
    words = (redis.url, judge.url, judge.api_key, judge.account_id, 60, calls)
    return [Limited(*words, rate=RATE, **{**options, "clock": 3_600 * (one == 0)}) for one in range(count)]


def test_four_processes_keep_one_rate(redis_server: RedisServer, judge: Sandbox) -> None:
    """240 calls of four processes, one with a clock an hour ahead: the rate that was set, fair shares, and no 429."""
    four = processes(redis_server, judge, 4, 60)
    for one in four:
        one.go()
    results = [one.result() for one in four]
    sent = sorted(moment for result in results for moment in result["sent"])
    assert len(sent) == 240
    assert judge.ledger.rate_limited == 0
    assert (len(sent) - 1) / (sent[-1] - sent[0]) == pytest.approx(RATE, rel=0.03)
    half = sent[120]
    for result in results:
        assert sum(moment <= half for moment in result["sent"]) == pytest.approx(121 / 4, rel=0.2)
    assert sum(result["server_calls"] for result in results) <= 240 + 4  # one each, and each script sent once


def test_a_killed_process_takes_no_more_than_its_token_along(redis_server: RedisServer, judge: Sandbox) -> None:
    """When one of four is killed, the others never wait for long, and have its share at once."""
    four = processes(redis_server, judge, 4, 50)
    for one in four:
        one.go()
    time.sleep(2.5)
    killed = time.monotonic()
    four[1].kill()
    results = [one.result() for place, one in enumerate(four) if place != 1]
    sent = sorted(moment for result in results for moment in result["sent"])
    assert len(sent) == 150
    assert judge.ledger.rate_limited == 0
    after = [moment for moment in sent if moment > killed]
    assert len(after) > 30
    assert max(later - earlier for earlier, later in pairwise(after)) < 1
    assert (len(after) - 1) / (after[-1] - after[0]) == pytest.approx(RATE, rel=0.05)


def test_nothing_is_lost_while_the_server_stumbles(redis_server: RedisServer, judge: Sandbox) -> None:
    """A server that pauses, forgets its scripts, is flushed, and is killed and started anew: every call is made, no 429."""
    two = processes(redis_server, judge, 2, 120, timeout=0.3)
    for one in two:
        one.go()
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
    assert sum(len(one.result()["sent"]) for one in two) == 240
    assert judge.ledger.rate_limited == 0


def test_bulk_work_leaves_room(redis_server: RedisServer, judge: Sandbox) -> None:
    """While a bulk job takes all it can, another process's ten calls at once need not wait for tokens; no 429."""
    bulk = Limited(redis_server.url, judge.url, judge.api_key, judge.account_id, 60, 120, rate=RATE, burst_share=0.5)
    web = Limited(redis_server.url, judge.url, judge.api_key, judge.account_id, 6, 6, rate=RATE)
    bulk.go()
    time.sleep(2.5)
    began = time.monotonic()
    web.go()
    took = max(web.result()["sent"]) - began
    sent = sorted(bulk.result()["sent"])
    assert took < 0.5 * 6 / RATE + 0.1
    assert (len(sent) - 1 + 6) / (sent[-1] - sent[0]) == pytest.approx(RATE, rel=0.1)
    assert judge.ledger.rate_limited == 0
