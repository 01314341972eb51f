"""The script of the rate limit, compared with a model in Python and with the definition of a token bucket."""

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

SOURCE = (Path(integration.__file__).parent / "rate_limit.lua").read_text(encoding="utf-8")
SOURCE_WITH_CLOCK = SOURCE.replace("redis.call('TIME')", "{ARGV[6], ARGV[7]}")
"""The script with a clock that the test controls."""

START = 1_795_600_000_000_000
MINUTE = 60_000_000

quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_server.port) as opened:
        yield opened


class Server:
    """The script on a real server, at times that the test chooses."""

    def __init__(self, client: redis.Redis, rate: float, burst: int) -> None:
        client.flushdb()
        self._script, self._rate, self._burst = client.register_script(SOURCE_WITH_CLOCK), rate, burst

    def run(self, now: int, command: str, share: float = 1.0, value: int = 0) -> list[int]:
        seconds, micro = divmod(now, 1_000_000)
        return self._script(keys=["k"], args=[command, self._rate, self._burst, share, value, seconds, micro])


class Model:
    """The same in Python, with the :class:`AdaptiveRate` of the limiter of one process."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst, self._adaptive = rate, burst, AdaptiveRate(rate, burst)
        self._next: int | None = None
        self._not_before = self._used = self._month = 0
        self._exhausted_month: int | None = None

    def run(self, now: int, command: str, share: float = 1.0, value: int = 0) -> list[int]:
        self._next = now + 1_000_000 if self._next is None else self._next
        day = datetime.fromtimestamp(now // 1_000_000, UTC)
        month = day.year * 100 + day.month
        if month != self._month:
            self._month, self._used = month, 0
        self._adaptive.recover(now / 1e6)
        response = getattr(self, command)(now, ceil(1_000_000 / self._adaptive.rate), share, value)
        return [*response, self._used]

    def acquire(self, now: int, each: int, share: float, _: int) -> list[int]:
        if self._exhausted_month == self._month:
            return [-1, 0, self._month]
        assert self._next is not None
        burst_depth = (self._adaptive.burst - 1) * each
        free = max(self._next, now - burst_depth)
        slot = max(now, free + floor((1 - share) * self._adaptive.burst * each), self._not_before)
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
            self._adaptive.on_rate_limited(now / 1e6)
        self._not_before = max(self._not_before, now + value)
        self._next = max(self._next, now + ceil(1_000_000 / self._adaptive.rate))
        return [0, 0, 0]

    def used(self, now: int, each: int, share: float, value: int) -> list[int]:
        self._used = max(self._used, value)
        return [0, 0, 0]

    def quota_exhausted(self, now: int, each: int, share: float, value: int) -> list[int]:
        self._exhausted_month = value
        return [0, 0, 0]


STEPS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 300_000), st.integers(0, 3 * MINUTE)),
        st.sampled_from(["acquire"] * 6 + ["release"] * 2 + ["pause", "used"]),
        st.sampled_from([1.0, 1.0, 0.5, 0.25]),
        st.integers(0, 3_000_000),
    ),
    max_size=40,
)


@quick
@given(rate=st.sampled_from([9.9, 10.0, 0.5, 33.3]), burst=st.integers(1, 15), steps=STEPS, exhausted=st.booleans())
def test_script_matches_the_model(
    client: redis.Redis, rate: float, burst: int, steps: list[tuple[int, str, float, int]], exhausted: bool
) -> None:
    """The script and the model respond the same to any sequence of commands, to the microsecond."""
    server, model, now, name = Server(client, rate, burst), Model(rate, burst), START, 0
    end = [(0, "quota_exhausted", 1.0, 202611), (0, "acquire", 1.0, 0)] if exhausted else []
    for delay, command, share, value in [*steps, *end]:
        now += delay
        argument = name if command == "release" else value
        response = server.run(now, command, share, argument)
        assert response == model.run(now, command, share, argument)
        name = response[2] or name


@quick
@given(rate=st.sampled_from([9.9, 10.0, 33.3]), burst=st.integers(2, 15), data=st.data())
def test_tokens_never_exceed_the_bucket(client: redis.Redis, rate: float, burst: int, data: st.DataObject) -> None:
    """If tokens are used while they are valid, returned or dropped, a bucket of the same size accepts all requests."""
    server, now, sends = Server(client, rate, burst), START, list[int]()
    server.run(now, "acquire")
    now += data.draw(st.integers(0, 5_000_000))
    for _ in range(data.draw(st.integers(1, 40))):
        now += data.draw(st.integers(0, 400_000))
        wait, validity, name, _ = server.run(now, "acquire", data.draw(st.sampled_from([1.0, 0.5])))
        match data.draw(st.sampled_from(["send", "send late", "release", "drop"])):
            case "send":
                sends.append(now + wait)
            case "send late":
                sends.append(now + wait + data.draw(st.integers(0, validity)))
            case "release":
                server.run(now, "release", 1, name)
    level, before = float(burst), START
    for send in sorted(sends):
        level, before = min(burst, level + (send - before) * rate / 1e6), send
        level -= 1
        assert level > -1e-3


def test_empty_server_waits_a_second_without_burst(client: redis.Redis) -> None:
    """After a loss of data, no token is assigned for a second, because earlier tokens may still be used."""
    server = Server(client, 10, 12)
    assert [server.run(START, "acquire")[0] for _ in range(4)] == [1_000_000, 1_100_000, 1_200_000, 1_300_000]


def test_burst_share_leaves_tokens_to_others(client: redis.Redis) -> None:
    """With a share of 0.5, six of twelve tokens are available at once, and other processes get the rest at once."""
    server = Server(client, 10, 12)
    server.run(START, "acquire")
    now = START + 10 * MINUTE
    assert [server.run(now, "acquire", 0.5)[0] for _ in range(8)] == [0] * 6 + [100_000, 200_000]
    assert [server.run(now, "acquire")[0] for _ in range(5)] == [0, 0, 0, 0, 100_000]
    later = now + 10 * MINUTE
    assert server.run(later, "acquire", 0.5)[0] == 0


def test_acquire_after_outage_has_no_burst(client: redis.Redis) -> None:
    """A process that sent requests without the server does not get the burst that accumulated meanwhile."""
    server = Server(client, 10, 12)
    server.run(START, "acquire")
    now = START + 10 * MINUTE
    assert server.run(now, "acquire_after_outage")[0] == 100_000
    assert server.run(now, "acquire")[0] == 200_000


@pytest.mark.parametrize("year", [1999, 2000, 2026, 2027, 2028, 2100])
def test_count_restarts_with_each_calendar_month(client: redis.Redis, year: int) -> None:
    """The number of requests restarts with each month in UTC, to the second, also in leap years."""
    server = Server(client, 10, 12)
    for month in range(1, 13):
        first = int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000
        before = server.run(first - 1, "acquire")[3]
        assert server.run(first, "acquire")[3] == 1
        assert before == (2 if month > 1 else 1)
        assert client.hget("k", "month") == str(year * 100 + month).encode()


def test_exhausted_quota_ends_with_the_month(client: redis.Redis) -> None:
    """No token is assigned while the monthly quota is used up, and the next month assigns tokens again."""
    server = Server(client, 10, 12)
    december = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000
    server.run(december - MINUTE, "quota_exhausted", 1, 202611)
    assert server.run(december - 1, "acquire")[:3] == [-1, 0, 202611]
    assert server.run(december + 10 * MINUTE, "acquire")[0] == 0


def test_exhausted_previous_month_is_ignored(client: redis.Redis) -> None:
    """A process with a slow clock reports November in December, and the tokens of December are still assigned."""
    server = Server(client, 10, 12)
    december = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000
    server.run(december + 1, "quota_exhausted", 1, 202611)
    assert server.run(december + 10 * MINUTE, "acquire")[0] == 0


@pytest.mark.parametrize("ahead", [MINUTE, 60 * MINUTE])
def test_clock_that_was_set_back_holds_nobody(client: redis.Redis, ahead: int) -> None:
    """If the server was ahead, the next token and a pause keep their distance from the present."""
    server = Server(client, 10, 12)
    for _ in range(3):
        server.run(START + ahead, "acquire")
    server.run(START + ahead, "pause", 1.0, 2_000_000)
    assert server.run(START, "acquire")[0] == 2_000_000


@pytest.mark.parametrize("field", ["next", "not_before"])
def test_time_an_hour_ahead_is_dropped(client: redis.Redis, field: str) -> None:
    """A time of the state that nothing explains counts as lost."""
    server = Server(client, 10, 12)
    server.run(START, "acquire")
    client.hset("k", field, START + 60 * MINUTE)
    assert server.run(START, "acquire")[0] <= 1_100_000


def test_state_expires(client: redis.Redis) -> None:
    """The state is one hash that expires forty days after its last use."""
    Server(client, 10, 12).run(START, "acquire")
    assert client.keys() == [b"k"]
    assert math.isclose(client.ttl("k"), 40 * 86_400, abs_tol=5)
