"""The state that ``lf.health()`` returns without a request."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from aiohttp import web

from leadfeeder_async import (
    AccessToken,
    AsyncLeadfeeder,
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    CredentialError,
    InvalidIdError,
    LeadfeederError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
)
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import handler_server


async def test_new_client_is_ready(sandbox: Sandbox) -> None:
    """Before the first call there is nothing to report, and no request is sent."""
    lf = AsyncLeadfeeder("k", base_url=sandbox.url, monthly_quota=500, rate=5)
    health = lf.health()
    assert (health.ready, health.rate, health.paused_for, health.monthly_quota) == (True, 5, 0, 500)
    assert (health.in_flight, health.waiting, health.requests_this_month) == (0, 0, 0)
    assert health.last_success_at is health.last_error is health.token_expires_at is health.quota_blocked_until is None
    assert sandbox.ledger.requests == []
    await lf.aclose()
    assert not lf.health().ready


async def test_calls_in_flight_and_waiting(sandbox: Sandbox) -> None:
    """Calls with a slot are in flight, and the others wait. The count of the month grows."""
    sandbox.latency = 0.1
    async with client_for(sandbox, max_concurrency=2) as lf:
        await lf.users.me()
        calls = [asyncio.create_task(lf.users.me()) for _ in range(5)]
        await asyncio.sleep(0.05)
        health = lf.health()
        await asyncio.gather(*calls)
        assert (health.in_flight, health.waiting) == (2, 3)
        after = lf.with_options(timeout=5).health()
    assert (after.in_flight, after.waiting, after.requests_this_month) == (0, 0, 6)
    assert after.last_success_at is not None
    assert datetime.now(UTC) - after.last_success_at < timedelta(seconds=5)


async def test_pause_and_reduced_rate(sandbox: Sandbox) -> None:
    """A 429 with Retry-After shows as a pause, and repeated ones reduce the rate."""
    async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, account_id=sandbox.account_id, retries=0) as lf:
        await lf.users.me()
        for retry_after in ("0.01", "20"):
            sandbox.fail_next(429, code="rate_limit_exceeded", retry_after=retry_after)
            with pytest.raises(RateLimitedError):
                await lf.users.me()
            await asyncio.sleep(0.02)
        health = await asyncio.to_thread(lf.health)
    assert 15 < health.paused_for <= 20
    assert health.rate == pytest.approx(0.9 * 9.9)
    assert health.ready
    assert health.last_error is not None
    assert (health.last_error.error, health.last_error.status) == ("RateLimitedError", 429)


class NextMonth(datetime):
    """A clock that is ahead by more than a month."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(days=32)


async def test_used_up_quota_is_not_ready(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``quota_exceeded``, the client is not ready until the block ends."""
    async with client_for(sandbox) as lf:
        sandbox.fail_next(429, code="quota_exceeded")
        with pytest.raises(QuotaExceededError):
            await lf.users.me()
        health = lf.health()
        assert not health.ready
        assert health.quota_blocked_until is not None
        assert health.quota_blocked_until > datetime.now(UTC)
        monkeypatch.setattr("leadfeeder_async._core.client_state.datetime", NextMonth)
        assert lf.health().ready


async def test_rejected_key_is_not_ready(sandbox: Sandbox) -> None:
    """A rejected key is reported until a call shows that it is accepted. Other errors do not matter."""
    async with client_for(sandbox, retries=0) as lf:
        sandbox.revoke_key()
        with pytest.raises(AuthenticationError) as caught:
            await lf.users.me()
        health = lf.health()
        assert not health.ready
        assert health.last_error is not None
        assert (health.last_error.code, health.last_error.operation) == ("invalid_api_key", "get_current_user")
        assert health.last_error.request_id == caught.value.request_id
        sandbox.restore_key()
        with pytest.raises(NotFoundError):
            await lf.tags.get("1")
        assert lf.health().ready
        sandbox.revoke_key()
        with pytest.raises(AuthenticationError):
            await lf.users.me()
        sandbox.restore_key()
        await lf.users.me()
        assert lf.health().ready


async def test_account_without_access_is_ready() -> None:
    """A denied access does not end the readiness of a key that was accepted before. Without this, it does."""

    async def respond(request: web.Request) -> web.Response:
        if request.query.get("account_id") == "2":
            return web.json_response({"errors": [{"code": "access_denied"}]}, status=403)
        return web.json_response({"data": {"id": "1", "type": "tag", "attributes": {}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        for is_ready in (False, True):
            with pytest.raises(AuthenticationError):
                await lf.tags.get("1", account_id="2")
            assert lf.health().ready is is_ready
            await lf.tags.get("1")


async def test_failing_callable_is_not_ready(sandbox: Sandbox) -> None:
    """A callable that fails or returns something else is reported."""
    results: list[object] = [AccessToken(sandbox.issue_token(), datetime.now(UTC) + timedelta(hours=1))]

    def provide() -> AccessToken:
        return results[-1]  # type: ignore[return-value]

    async with AsyncLeadfeeder(access_token=provide, base_url=sandbox.url, account_id=sandbox.account_id) as lf:
        await lf.users.me()
        assert lf.health().ready
        expiry = lf.health().token_expires_at
        assert expiry is not None
        assert expiry > datetime.now(UTC)
        results.append(5)
        sandbox.fail_next(401, code="token_expired")
        with pytest.raises(ConfigurationError):
            await lf.users.me()
        assert not lf.health().ready
        results.clear()
        await asyncio.sleep(1.05)  # the failure is repeated for a second
        with pytest.raises(CredentialError):
            await lf.users.me()
        error = lf.health().last_error
        assert error is not None
        assert error.error == "CredentialError"
        assert not lf.health().ready


async def test_errors_of_the_caller_are_not_recorded(sandbox: Sandbox) -> None:
    """Invalid arguments and budgets say nothing about the API."""
    calls: list[LeadfeederError] = []
    async with client_for(sandbox) as lf:
        for budget in (None, 0):
            try:
                async with lf.budget(max_credits=budget):
                    await lf.companies.get("a b" if budget is None else "1")
            except LeadfeederError as error:
                calls.append(error)
        assert [type(error) for error in calls] == [InvalidIdError, BudgetExceededError]
        assert lf.health().last_error is None
        assert lf.health().ready


async def test_custom_limiter_has_no_rate(sandbox: Sandbox) -> None:
    """A custom limiter does not tell its rate."""

    class Limiter:
        async def acquire(self) -> None:
            return

        def pause(self, seconds: float) -> None:
            return

    async with client_for(sandbox, limiter=Limiter()) as lf:
        assert lf.health().rate is None
        await lf.users.me()
        assert lf.health().rate is None


class NextMinutes(datetime):
    """A clock that is ahead by two minutes."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(minutes=2)


async def test_unreachable_token_provider_is_ready(sandbox: Sandbox) -> None:
    """A callable that fails does not show that the token is rejected, so the client stays ready."""

    def provide() -> AccessToken:
        raise OSError

    async with AsyncLeadfeeder(access_token=provide, base_url=sandbox.url, account_id=sandbox.account_id) as lf:
        with pytest.raises(CredentialError):
            await lf.users.me()
        assert lf.health().ready


@pytest.mark.parametrize("is_renewable", [False, True])
async def test_renewable_key_is_ready_later(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, is_renewable: bool
) -> None:
    """A minute after a rejection, a client that can get a new key is ready, so that calls can renew it."""
    key = sandbox.api_key
    async with AsyncLeadfeeder(
        (lambda: key) if is_renewable else key, base_url=sandbox.url, account_id=sandbox.account_id
    ) as lf:
        sandbox.revoke_key()
        with pytest.raises(AuthenticationError):
            await lf.users.me()
        assert not lf.health().ready
        monkeypatch.setattr("leadfeeder_async._core.client_state.datetime", NextMinutes)
        assert lf.health().ready == is_renewable
