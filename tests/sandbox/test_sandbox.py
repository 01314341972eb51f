"""The sandbox is what it says, so that tests built on it mean something."""

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
    NotFoundError,
    OffsetExceededError,
    OutcomeUnknownError,
    PermissionDeniedError,
    QuotaExceededError,
    ServerError,
)
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sandbox.world import World, employee_range
from tests.support.clients import client_for
from tests.support.paths import EXAMPLES

END = date(2026, 11, 22)


def test_same_seed_same_world() -> None:
    """A world is a function of its seed."""
    one, same, other = World(1, 50, 300, 30, END), World(1, 50, 300, 30, END), World(2, 50, 300, 30, END)
    shown = [[world.visit(number) for number in range(300)] for world in (one, same, other)]
    assert shown[0] == shown[1] != shown[2]


@pytest.mark.parametrize(("visits", "days"), [(0, 1), (1, 30), (12_345, 30), (5_000_000, 365)])
def test_every_visit_lies_on_one_day(visits: int, days: int) -> None:
    """The days' visits follow one another and add up, at any size, without being held in memory."""
    world = World(3, 100, visits, days, END)
    total = world.visits_between(world.start_date, END)
    assert total == range(visits)
    for number in {0, visits // 3, visits - 1} & set(total):
        day = date.fromisoformat(str(world.visit(number)["started_at"])[:10])
        assert number in world.visits_between(day, day)


@pytest.mark.parametrize(
    ("employees", "expected"), [(1, "1-10"), (10, "1-10"), (11, "11-100"), (500, "101-500"), (10_001, "10.000+")]
)
def test_employee_range(employees: int, expected: str) -> None:
    """Size classes include their upper bound, and are written as the API writes them."""
    assert employee_range(employees) == expected


async def test_bucket_is_the_api_s() -> None:
    """Fifteen at once and ten a second: a greedy client meets 429 with the contract's body."""
    async with Sandbox() as sandbox, aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:

        async def ask() -> int:
            async with session.get(f"{sandbox.url}/v1/users/me") as response:
                await response.read()
                return response.status

        started = time.monotonic()
        statuses = await asyncio.gather(*(ask() for _ in range(40)))
        allowed = 15 + 10 * (time.monotonic() - started) + 1
        assert 15 <= statuses.count(200) <= allowed
        assert statuses.count(429) == sandbox.ledger.rate_limited > 0


async def test_refusals(sandbox: Sandbox) -> None:
    """What the API would refuse is refused: keys, accounts, parameters of another paging style, unknown routes."""
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


async def test_wall() -> None:
    """No visit past row 10,000 of one search is handed out."""
    async with Sandbox(visits=11_000, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        body = {"start_date": str(sandbox.start_date), "end_date": str(sandbox.end_date)}
        last = await lf.request("POST", "/v1/web-visits", params={"page[num]": 100, "page[size]": 100}, json=body)
        assert isinstance(last["data"], list)
        assert len(last["data"]) == 100
        with pytest.raises(OffsetExceededError):
            await lf.request("POST", "/v1/web-visits", params={"page[num]": 101, "page[size]": 100}, json=body)


async def test_faults_on_order(sandbox: Sandbox) -> None:
    """``fail_next`` spoils what it names, as often as told, before or after the work."""
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
        sandbox.fail_next(429, code="rate_limit_exceeded", retry_after="0.01")
        assert (await lf.with_options(retries=1).companies.get("159000001")).meta.charged == 0


async def test_misspelt_operations_are_refused(sandbox: Sandbox) -> None:
    """A name that no operation has would never be met, and a test of it always pass."""
    for misspelt in (
        lambda: sandbox.fail_next(503, operation="get_compny"),
        lambda: sandbox.ledger.count("get_compny"),
        lambda: Sandbox(not_entitled={"get_compny"}),
    ):
        with pytest.raises(ValueError, match="'get_compny' is no operation; is it 'get_company'"):
            misspelt()
    with pytest.raises(ValueError, match="status=9999"):
        sandbox.fail_next(9999)
    with pytest.raises(RuntimeError, match="async with"):
        assert Sandbox().url
    async with Sandbox(not_entitled="search_contacts", rate_limit=False) as refusing, client_for(refusing) as lf:
        with pytest.raises(PermissionDeniedError):
            await lf.contacts.search(search_terms=["x"]).collect()


async def test_no_visit_comes_from_the_future() -> None:
    """A world that ends today ends now; one with an end of its own has whole days."""
    async with Sandbox(visits=5_000, days=2, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        today = await lf.web_visits.search(start_date=sandbox.end_date, end_date=sandbox.end_date).collect()
    assert today
    assert all(visit.started_at is not None and visit.started_at <= datetime.now(UTC) for visit in today)
    world = Sandbox(visits=5_000, days=2, end_date=date(2026, 11, 1))._state.world
    assert str(world.visit(4_999)["started_at"]).startswith("2026-11-01T23:5")


async def test_quota_ends_the_month() -> None:
    """After the month's requests every further one is refused with ``quota_exceeded``."""
    async with Sandbox(quota=3, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        for _ in range(3):
            await lf.users.me()
        with pytest.raises(QuotaExceededError):
            await lf.users.me()
        assert [entry.status for entry in sandbox.ledger.requests] == [200, 200, 200, 429]


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    text = (EXAMPLES.parent / "openapi.yaml").read_text()
    document: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document["components"]


ANSWERS = [
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


@pytest.mark.parametrize(("method", "path", "account", "body", "schema"), ANSWERS)
async def test_answers_fit_the_contract(
    schemas: dict[str, Any], method: str, path: str, account: str, body: dict[str, Any], schema: str
) -> None:
    """Every answer validates against the contract's schema of it."""
    async with Sandbox(end_date=date(2026, 11, 30), rate_limit=False) as sandbox:
        url = f"{sandbox.url}{path}{'&' if '?' in path else '?'}" + (
            f"account_id={sandbox.account_id}" if account else ""
        )
        async with aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:
            async with session.request(method, url, json=body or None) as response:
                content = json.loads(await response.read())
    jsonschema.validate(content, {"$ref": f"#/components/schemas/{schema}", "components": schemas})
    assert content["meta"]["request_id"]
    assert schema.startswith("Error") or content["data"]
