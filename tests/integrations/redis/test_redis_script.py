"""The arithmetic of the script, against a model in Python and against the law of the bucket."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from math import ceil, floor
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import leadfeeder_async.integrations.redis as integration
from leadfeeder_async._core.rate_limit import AdaptiveRate
from tests.support.redis import RedisServer

TEXT = (Path(integration.__file__).parent / "rate_limit.lua").read_text()
WITH_A_CLOCK = TEXT.replace("redis.call('TIME')", "{ARGV[6], ARGV[7]}")
"""The script under a clock of the test's."""

START = 1_795_600_000_000_000
MINUTE = 60_000_000

quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_server.port) as opened:
        yield opened


class Server:
    """The script on a real server, at the times the test says."""

    def __init__(self, client: redis.Redis, rate: float, burst: int) -> None:
        client.flushdb()
        self._script, self._rate, self._burst = client.register_script(WITH_A_CLOCK), rate, burst

    def run(self, now: int, what: str, share: float = 1.0, value: int = 0) -> list[int]:
        seconds, micro = divmod(now, 1_000_000)
        return self._script(keys=["k"], args=[what, self._rate, self._burst, share, value, seconds, micro])


class Model:
    """The same in Python, with the :class:`Pace` that the limiter of one process has."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst, self._pace = rate, burst, AdaptiveRate(rate, burst)
        self._next: int | None = None
        self._not_before = self._used = self._month = 0
        self._over: int | None = None

    def run(self, now: int, what: str, share: float = 1.0, value: int = 0) -> list[int]:
        self._next = now + 1_000_000 if self._next is None else self._next
        day = datetime.fromtimestamp(now // 1_000_000, UTC)
        month = day.year * 100 + day.month
        if month != self._month:
            self._month, self._used = month, 0
        self._pace.recover(now / 1e6)
        answer = getattr(self, what)(now, ceil(1_000_000 / self._pace.rate), share, value)
        return [*answer, self._used]

    def take(self, now: int, each: int, share: float, _: int) -> list[int]:
        if self._over == self._month:
            return [-1, 0, self._month]
        assert self._next is not None
        burst_depth = (self._pace.burst - 1) * each
        free = max(self._next, now - burst_depth)
        slot = max(now, free + floor((1 - share) * self._pace.burst * each), self._not_before)
        free = max(free, slot - burst_depth)
        self._next, self._used = free + each, self._used + 1
        return [slot - now, free + burst_depth - slot, self._next]

    def release(self, now: int, each: int, share: float, value: int) -> list[int]:
        if self._next != value:
            return [0, 0, 0]
        self._next, self._used = self._next - each, max(0, self._used - 1)
        return [0, 1, 0]

    def pause(self, now: int, each: int, share: float, value: int) -> list[int]:
        assert self._next is not None
        if now >= self._not_before:
            self._pace.on_rate_limited(now / 1e6)
        self._not_before = max(self._not_before, now + value)
        self._next = max(self._next, now + ceil(1_000_000 / self._pace.rate))
        return [0, 0, 0]

    def used(self, now: int, each: int, share: float, value: int) -> list[int]:
        self._used = max(self._used, value)
        return [0, 0, 0]

    def quota_exhausted(self, now: int, each: int, share: float, value: int) -> list[int]:
        self._over = value
        return [0, 0, 0]


STEPS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 300_000), st.integers(0, 3 * MINUTE)),
        st.sampled_from(["take"] * 6 + ["release"] * 2 + ["pause", "used"]),
        st.sampled_from([1.0, 1.0, 0.5, 0.25]),
        st.integers(0, 3_000_000),
    ),
    max_size=40,
)


@quick
@given(rate=st.sampled_from([9.9, 10.0, 0.5, 33.3]), burst=st.integers(1, 15), steps=STEPS, over=st.booleans())
def test_the_script_is_the_model(client: redis.Redis, rate: float, burst: int, steps: list, over: bool) -> None:
    """Any order of tokens taken and given back, pauses and news of the month gives the model's answers, to the microsecond."""
    server, model, now, name = Server(client, rate, burst), Model(rate, burst), START, 0
    end = [(0, "quota_exhausted", 1, 202611), (0, "take", 1, 0)] if over else []
    for after, what, share, value in [*steps, *end]:
        now += after
        given = name if what == "release" else value
        said = server.run(now, what, share, given)
        assert said == model.run(now, what, share, given)
        name = said[2] or name


@quick
@given(rate=st.sampled_from([9.9, 10.0, 33.3]), burst=st.integers(2, 15), data=st.data())
def test_no_use_of_the_tokens_breaks_the_bucket(
    client: redis.Redis, rate: float, burst: int, data: st.DataObject
) -> None:
    """Each token used at any moment while it is good, given back or dropped: a bucket of the same size takes them all."""
    server, now, sends = Server(client, rate, burst), START, list[int]()
    server.run(now, "take")
    now += data.draw(st.integers(0, 5_000_000))
    for _ in range(data.draw(st.integers(1, 40))):
        now += data.draw(st.integers(0, 400_000))
        wait, good, name, _ = server.run(now, "take", data.draw(st.sampled_from([1.0, 0.5])))
        match data.draw(st.sampled_from(["send", "send late", "give back", "drop"])):
            case "send":
                sends.append(now + wait)
            case "send late":
                sends.append(now + wait + data.draw(st.integers(0, good)))
            case "give back":
                server.run(now, "release", 1, name)
    level, before = float(burst), START
    for send in sorted(sends):
        level, before = min(burst, level + (send - before) * rate / 1e6), send
        level -= 1
        assert level > -1e-3


def test_a_server_that_knows_nothing_waits_a_second_and_has_no_burst(client: redis.Redis) -> None:
    """After a flush, tokens given out before may still be on their way: nothing for a second, then the rate."""
    server = Server(client, 10, 12)
    assert [server.run(START, "take")[0] for _ in range(4)] == [1_000_000, 1_100_000, 1_200_000, 1_300_000]


def test_bulk_leaves_a_part_of_the_burst(client: redis.Redis) -> None:
    """With half a share, six of twelve tokens go at once, the seventh waits for its refill, and others get theirs at once."""
    server = Server(client, 10, 12)
    server.run(START, "take")
    now = START + 10 * MINUTE
    assert [server.run(now, "take", 0.5)[0] for _ in range(8)] == [0] * 6 + [100_000, 200_000]
    assert [server.run(now, "take")[0] for _ in range(5)] == [0, 0, 0, 0, 100_000]
    later = now + 10 * MINUTE
    assert server.run(later, "take", 0.5)[0] == 0


def test_going_back_to_the_shared_limit_finds_it_empty(client: redis.Redis) -> None:
    """Who sent by itself while the server was away starts without the burst that filled up meanwhile."""
    server = Server(client, 10, 12)
    server.run(START, "take")
    now = START + 10 * MINUTE
    assert server.run(now, "acquire_after_outage")[0] == 100_000
    assert server.run(now, "take")[0] == 200_000


@pytest.mark.parametrize("year", [1999, 2000, 2026, 2027, 2028, 2100])
def test_the_month_is_the_calendars(client: redis.Redis, year: int) -> None:
    """The count begins anew with each month in UTC, in leap years and others, to the second."""
    server = Server(client, 10, 12)
    for month in range(1, 13):
        first = int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000
        before = server.run(first - 1, "take")[3]
        assert server.run(first, "take")[3] == 1
        assert before == (2 if month > 1 else 1)
        assert client.hget("k", "month") == str(year * 100 + month).encode()


def test_the_end_of_the_month_ends_with_it(client: redis.Redis) -> None:
    """No token is given once the month's requests are used up, and the next month gives them again."""
    server = Server(client, 10, 12)
    december = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000
    server.run(december - MINUTE, "quota_exhausted", 1, 202611)
    assert server.run(december - 1, "take")[:3] == [-1, 0, 202611]
    assert server.run(december + 10 * MINUTE, "take")[0] == 0


def test_news_of_a_month_that_is_over_ends_no_other(client: redis.Redis) -> None:
    """Told in December that November is used up, by a process whose clock is behind, it gives out December's tokens."""
    server = Server(client, 10, 12)
    december = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000
    server.run(december + 1, "quota_exhausted", 1, 202611)
    assert server.run(december + 10 * MINUTE, "take")[0] == 0


def test_what_is_kept_goes_away(client: redis.Redis) -> None:
    """One hash holds it all, and expires forty days after its last use."""
    Server(client, 10, 12).run(START, "take")
    assert client.keys() == [b"k"]
    assert math.isclose(client.ttl("k"), 40 * 86_400, abs_tol=5)
