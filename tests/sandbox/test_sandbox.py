"""Tests for the sandbox server."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, date, datetime
from typing import Any

import aiohttp
import jsonschema
import pytest
import yaml

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    BadRequestError,
    InsufficientCreditsError,
    LeadfeederError,
    NotFoundError,
    OffsetExceededError,
    OutcomeUnknownError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
)
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for
from tests.support.paths import EXAMPLES


async def test_rate_limit() -> None:
    """The rate limit allows a burst of 15 requests and 10 requests per second."""
    async with Sandbox() as sandbox, aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:

        async def status_of_request() -> int:
            async with session.get(f"{sandbox.url}/v1/users/me") as response:
                await response.read()
                return response.status

        started = time.monotonic()
        statuses = await asyncio.gather(*(status_of_request() for _ in range(40)))
        allowed = 15 + 10 * (time.monotonic() - started) + 1
        assert 15 <= statuses.count(200) <= allowed
        assert statuses.count(429) == sandbox.ledger.rate_limited > 0


async def test_rate_and_burst_arguments() -> None:
    """The rate and the burst of the rate limit can be chosen."""
    async with Sandbox(rate=0.001, burst=2) as sandbox, client_for(sandbox, retries=0) as lf:
        results = await asyncio.gather(*(lf.users.me() for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(result, Exception) for result in results) == sandbox.ledger.rate_limited == 3


async def test_invalid_requests(sandbox: Sandbox) -> None:
    """Invalid keys, accounts, parameters, bodies and paths are rejected."""
    async with client_for(sandbox) as lf:
        with pytest.raises(PermissionDeniedError):
            await lf.accounts.get("1")
        with pytest.raises(BadRequestError, match="account_id is missing"):
            await lf.request("GET", "/v1/companies", params={"account_id": "", "ids": ("1",)})
        with pytest.raises(BadRequestError, match=r"page\[num\]"):
            await lf.request("POST", "/v1/companies/search", params={"page[num]": 1}, json={"search_terms": ["a"]})
        with pytest.raises(BadRequestError, match=r"page\[cursor\]"):
            body = {"start_date": "2026-11-01", "end_date": "2026-11-02"}
            await lf.request("POST", "/v1/web-visits", params={"page[cursor]": "a"}, json=body)
        for body in (
            {},
            {"start_date": "x", "end_date": "2026-11-02"},
            {"start_date": "2026-11-02", "end_date": "2026-11-01"},
        ):
            with pytest.raises(BadRequestError):
                await lf.request("POST", "/v1/web-visits", json=body)
        with pytest.raises(BadRequestError, match="criterion"):
            await lf.request("POST", "/v1/companies/search", json={})
        with pytest.raises(BadRequestError, match="100 ids"):
            await lf.request("GET", "/v1/companies", params={"ids": tuple(map(str, range(101)))})
        with pytest.raises(NotFoundError):
            await lf.request("GET", "/v1/nothing")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{sandbox.url}/v1/users/me") as response:
            assert (response.status, (await response.json())["error"]["code"]) == (401, "missing_token")
    async with AsyncLeadfeeder("wrong", base_url=sandbox.url) as lf:
        with pytest.raises(AuthenticationError):
            await lf.users.me()


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("GET", "/v1/usage?start_period=2026-11&end_period=2026-10", None, "start_period is after end_period"),
        (
            "GET",
            "/v1/campaigns/cmp-1/stats?start_period=2026-11-02&end_period=2026-11-01&frequency=daily",
            None,
            "start_period is after end_period",
        ),
        ("POST", "/v1/companies/match", {"companies": [{"city": "Berlin"}]}, "company_name, url, vat_id or register"),
        (
            "POST",
            "/v1/companies/signals",
            {"company_ids": ["159000001"], "event_date": {"from": "2026-11-02", "to": "2026-11-01"}},
            "from is after to",
        ),
        (
            "POST",
            "/v1/companies/signals",
            {"company_ids": ["159000001"], "categories": ["weather"]},
            "categories has an unknown category",
        ),
        ("GET", "/v1/ip/enrich?ip=localhost", None, "ip must be an IP address"),
        ("GET", "/v1/web-visits/custom-feeds?filter[has_connected_list]=maybe", None, "must be true or false"),
        ("GET", "/v1/lists?filter[scope]=visit", None, "must be company or contact"),
        ("GET", "/v1/custom-fields?filter[scope]=visit", None, "must be company or contact"),
        ("POST", "/v1/tags", {"data": {"type": "list", "attributes": {"name": "A", "color": 1}}}, "data.type must be"),
        ("POST", "/v1/companies/159000001/tags", {"data": [{"id": "1", "type": "list"}]}, "data.type must be tag"),
        ("POST", "/v1/companies/159000001/tags", {"data": [{"id": "1", "type": "tag"}]}, "No such tag"),
    ],
)
async def test_requests_with_invalid_values(sandbox: Sandbox, method: str, path: str, body: Any, message: str) -> None:
    """The error of the sandbox names the part of a request that is not valid."""
    url = f"{sandbox.url}{path}{'&' if '?' in path else '?'}account_id={sandbox.account_id}"
    async with aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:
        async with session.request(method, url, json=body) as response:
            assert response.status == (404 if message.startswith("No such") else 400)
            assert message in await response.text()


async def test_reject_company(sandbox: Sandbox) -> None:
    """Batches with a rejected id fail until the id is left out."""
    sandbox.reject_company("159000002", 422)
    async with client_for(sandbox, retries=0) as lf:
        with pytest.raises(LeadfeederError, match="ids must not include 159000002") as caught:
            await lf.request("GET", "/v1/companies", params={"ids": ("159000001", "159000002")})
        assert caught.value.status == 422
        assert await lf.request("GET", "/v1/companies", params={"ids": ("159000001",)})


@pytest.mark.parametrize("cursor", ["x", "c./+=", "c.zz/+="])
async def test_invalid_cursor(sandbox: Sandbox, cursor: str) -> None:
    """A cursor that the sandbox did not issue is rejected."""
    async with client_for(sandbox) as lf:
        with pytest.raises(BadRequestError, match="invalid_cursor"):
            await lf.request(
                "POST", "/v1/companies/search", params={"page[cursor]": cursor}, json={"search_terms": ["e"]}
            )


async def test_row_limit() -> None:
    """A page of a visit search that ends after the row limit is rejected."""
    async with Sandbox(visits=250, max_search_rows=200, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        body = {"start_date": str(sandbox.start_date), "end_date": str(sandbox.end_date)}
        last_page = await lf.request("POST", "/v1/web-visits", params={"page[num]": 2, "page[size]": 100}, json=body)
        assert isinstance(last_page["data"], list)
        assert len(last_page["data"]) == 100
        with pytest.raises(OffsetExceededError, match="Only the first 200 rows"):
            await lf.request("POST", "/v1/web-visits", params={"page[num]": 3, "page[size]": 100}, json=body)


async def test_default_row_limit(sandbox: Sandbox) -> None:
    """The row limit is 10,000 by default."""
    async with client_for(sandbox) as lf:
        body = {"start_date": str(sandbox.start_date), "end_date": str(sandbox.end_date)}
        await lf.request("POST", "/v1/web-visits", params={"page[num]": 100, "page[size]": 100}, json=body)
        with pytest.raises(OffsetExceededError, match="Only the first 10,000 rows"):
            await lf.request("POST", "/v1/web-visits", params={"page[num]": 101, "page[size]": 100}, json=body)


async def test_fail_next(sandbox: Sandbox) -> None:
    """Injected faults apply to one operation, a number of times, before or after the request takes effect."""
    async with client_for(sandbox, retries=0) as lf:
        sandbox.fail_next(500, times=2, operation="get_current_user")
        await lf.accounts.list()
        for _ in range(2):
            with pytest.raises(ServerError):
                await lf.users.me()
        await lf.users.me()
        sandbox.fail_next(504, after_work=True)
        with pytest.raises(OutcomeUnknownError):
            await lf.companies.get("159000001")
        assert sandbox.ledger.charges == ["159000001"]
        sandbox.fail_next(429, retry_after=100)
        with pytest.raises(RateLimitedError):
            await lf.with_options(deadline=1).users.me()
        sandbox.fail_next(429, code="rate_limit_exceeded", retry_after="0.01")
        assert (await lf.with_options(retries=1).companies.get("159000001")).meta.charged == 0


async def test_clear_faults(sandbox: Sandbox) -> None:
    """Injected faults that have not happened yet can be canceled."""
    async with client_for(sandbox, retries=0) as lf:
        sandbox.fail_next(500, times=9)
        with pytest.raises(ServerError):
            await lf.users.me()
        sandbox.clear_faults()
        await lf.users.me()


async def test_unknown_operation_name(sandbox: Sandbox) -> None:
    """An unknown operation name raises an error that suggests a known one."""
    for call in (
        lambda: sandbox.fail_next(503, operation="get_compny"),
        lambda: sandbox.ledger.count("get_compny"),
        lambda: Sandbox(not_entitled={"get_compny"}),
    ):
        with pytest.raises(ValueError, match=r"no operation 'get_compny'\. Did you mean 'get_company'"):
            call()
    with pytest.raises(ValueError, match=r"no operation 'x'\. Use a name from `ledger\.operations`"):
        sandbox.ledger.count("x")


def test_invalid_arguments() -> None:
    """Arguments that are out of range raise errors."""
    for call, message in (
        (lambda: Sandbox(companies=0), "companies=0 must be 1 or more"),
        (lambda: Sandbox(visits=-1), "visits=-1 must be 0 or more"),
        (lambda: Sandbox(quota=-1), "quota=-1 must be 0 or more"),
        (lambda: Sandbox(rate=0), "rate=0 must be above 0"),
        (lambda: Sandbox(days=0), "days=0 must be 1 or more"),
        (lambda: Sandbox(accounts=0), "accounts=0 must be 1 or more"),
        (lambda: Sandbox(port=65_536), "port=65536 must be 0 to 65535"),
        (lambda: Sandbox().fail_next(9999), "status=9999 must be 200 to 599"),
        (lambda: Sandbox().set_credits(1, account_id="7"), "no account '7'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_url_before_start() -> None:
    """The URL is unknown before the sandbox runs."""
    with pytest.raises(RuntimeError, match="async with"):
        assert Sandbox().url


async def test_not_entitled() -> None:
    """Operations outside the plan are rejected."""
    async with Sandbox(not_entitled="search_contacts", rate_limit=False) as sandbox, client_for(sandbox) as lf:
        with pytest.raises(PermissionDeniedError):
            await lf.contacts.search(search_terms=["x"]).collect()


async def test_quota() -> None:
    """Requests over the monthly quota are rejected with ``quota_exceeded``."""
    async with Sandbox(quota=3, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        for _ in range(3):
            await lf.users.me()
        with pytest.raises(QuotaExceededError):
            await lf.users.me()
        assert [request.status for request in sandbox.ledger.requests] == [200, 200, 200, 429]


async def test_set_credits(sandbox: Sandbox) -> None:
    """The credits of an account can be changed while the sandbox runs."""
    async with client_for(sandbox) as lf:
        await lf.companies.get("159000001")
        sandbox.set_credits(1)
        with pytest.raises(InsufficientCreditsError):
            await lf.companies.get("159000002")
        sandbox.set_credits(2, account_id=sandbox.account_id)
        await lf.companies.get("159000002")
    assert sandbox.ledger.charges == ["159000001", "159000002"]


async def test_records(sandbox: Sandbox) -> None:
    """Tags and lists can be read and changed without requests."""
    tag_id = sandbox.records.tags.add({"name": "Hot", "color": 3})
    async with client_for(sandbox) as lf:
        await lf.companies.assign_tags("159000001", [tag_id])
        assert list(sandbox.records.tags_of("159000001")) == [tag_id]
        sandbox.records.delete_tag(tag_id)
        assert await lf.tags.list().collect() == []
    assert sandbox.ledger.creations == []
    assert not sandbox.records.company_tags


async def test_last_day_ends_now() -> None:
    """Without ``end_date`` no visit starts in the future."""
    async with Sandbox(visits=5_000, days=2, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        visits = await lf.web_visits.search(start_date=sandbox.end_date, end_date=sandbox.end_date).collect()
    assert visits
    assert all(visit.started_at is not None and visit.started_at <= datetime.now(UTC) for visit in visits)


def test_end_date_is_a_full_day() -> None:
    """With ``end_date`` the visits of the last day are spread over the full day."""
    world = Sandbox(visits=5_000, days=2, end_date=date(2026, 11, 1)).world
    assert str(world.visit(world.visit_ids()[-1])["started_at"]).startswith("2026-11-01T23:5")


@pytest.fixture(scope="module")
def components() -> dict[str, Any]:
    """The components of the contract."""
    text = (EXAMPLES.parent / "openapi.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document["components"]


RESPONSES = [
    ("GET", "/v1/accounts", "", {}, "AccountResponse"),
    ("GET", "/v1/accounts", "account", {}, "AccountResponse"),
    ("GET", "/v1/users/me", "", {}, "UserResponse"),
    ("GET", "/v1/companies/159000001", "account", {}, "CompanyResponse"),
    ("GET", "/v1/companies?ids=159000001,159000002", "account", {}, "CompaniesResponse"),
    ("POST", "/v1/companies/search", "account", {"search_terms": ["e"]}, "CompaniesSearchResponse"),
    ("POST", "/v1/web-visits?include=company", "account", {"start_date": "2026-11-01", "end_date": "2026-11-30"}, "WebVisitsResponse"),
    ("GET", "/v1/web-visits/companies?start_date=2026-11-01&end_date=2026-11-30", "account", {}, "VisitorCompaniesResponse"),
    ("GET", "/v1/companies/159000001", "", {}, "Error400"),
    ("GET", "/v1/companies/nope", "account", {}, "Error404"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "account", "body", "schema"), RESPONSES)
async def test_response_schemas(
    components: dict[str, Any], method: str, path: str, account: str, body: dict[str, Any], schema: str
) -> None:
    """Responses validate against the schemas of the contract."""
    async with Sandbox(end_date=date(2026, 11, 30), rate_limit=False) as sandbox:
        url = f"{sandbox.url}{path}{'&' if '?' in path else '?'}" + (
            f"account_id={sandbox.account_id}" if account else ""
        )
        async with aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:
            async with session.request(method, url, json=body or None) as response:
                content = json.loads(await response.read())
    jsonschema.validate(content, {"$ref": f"#/components/schemas/{schema}", "components": components})
    assert content["meta"]["request_id"]
    assert schema.startswith("Error") or content["data"]
