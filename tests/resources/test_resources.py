"""Methods of resources against the sandbox: their requests, results and charges."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from leadfeeder_async import (
    AsyncLeadfeeder,
    BadRequestError,
    ConfigurationError,
    InsufficientCreditsError,
    InvalidIdError,
)
from leadfeeder_async.models import (
    AccountCredits,
    CompanySearchFilters,
    IndustryFilter,
    RevenueRange,
    SearchLocation,
    WebVisitFilters,
)
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_for, client_of
from tests.support.servers import http, raw_server


async def test_accounts(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """``list`` returns the accounts of the key, and ``get`` the default account with its credits."""
    assert [account.name for account in (await lf.accounts.list()).data] == ["Seller 1"]
    account = (await lf.accounts.get()).data
    assert account.credits is not None
    assert (account.id, account.credits.remaining) == (sandbox.account_id, 5_000)
    with pytest.raises(BadRequestError):
        await lf.accounts.get(include=["nonsense"])


async def test_me(lf: AsyncLeadfeeder) -> None:
    """``users.me`` returns the owner of the key."""
    assert (await lf.users.me()).data.email == "ada@seller.test"


async def test_company_is_charged_once(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """The first request of a company charges a credit, and the next one does not."""
    first = await lf.companies.get("159000007", include=["tags", "crm_connections.crm_record"])
    second = await lf.companies.get("159000007")
    assert (first.meta.charged, second.meta.charged) == (1, 0)
    assert first.data == second.data
    assert sandbox.ledger.charges == ["159000007"]
    balance = AccountCredits(available=5_000, used=1, remaining=4_999, next_reset_on=date(2027, 1, 1))
    assert (await lf.accounts.get()).data.credits == balance


async def test_insufficient_credits_raise() -> None:
    """A request that needs more credits than the account has is rejected and charges nothing."""
    async with Sandbox(credits=2, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        with pytest.raises(InsufficientCreditsError, match="402"):
            await lf.companies.get_many([str(159_000_000 + number) for number in range(3)]).collect()
        assert sandbox.ledger.credits_charged == 0


@pytest.mark.parametrize("company_id", ["..", ".", "", "a\nb", 159_000_000])
async def test_invalid_ids_are_not_sent(sandbox: Sandbox, lf: AsyncLeadfeeder, company_id: Any) -> None:
    """An id that would change the path, or is not a string, raises before anything is sent."""
    with pytest.raises(InvalidIdError):
        await lf.companies.get(company_id)
    assert sandbox.ledger.requests == []


async def test_company_search_conditions(lf: AsyncLeadfeeder) -> None:
    """Conditions narrow a search, and Structs and mappings have the same effect."""
    german = await lf.companies.search(locations=[SearchLocation(country_code="DE")]).collect()
    assert {company.attributes.address.country_code for company in german if company.attributes.address} == {"DE"}
    assert german == await lf.companies.search(locations=[{"country_code": "DE"}], page_size=3).collect()
    narrowed = await lf.companies.search(locations=[{"country_code": "DE"}], employee_ranges=["1.001-5.000"]).collect()
    assert 0 < len(narrowed) < len(german)


async def test_company_search_body() -> None:
    """Each condition is in the body under the API's name, and no others are."""
    empty_page = http(b'{"data":[],"meta":{}}')
    async with raw_server(empty_page) as server, client_of(server.url) as lf:
        await lf.companies.search(
            search_terms=["a"],
            industries=IndustryFilter(codes=("28.99",), classification="nace"),
            revenue=RevenueRange(min=5),
            icp_ids=["icp-1"],
            filters=CompanySearchFilters(has_email=True),
            limit=1,
        ).collect()
    head, body = server.requests[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/companies/search?account_id=1&page%5Bsize%5D=100 ")
    assert body == (
        b'{"search_terms":["a"],"industries":{"codes":["28.99"],"classification":"nace"},"revenue":{"min":5},'
        b'"icp_ids":["icp-1"],"filters":{"has_email":true}}'
    )


@pytest.mark.parametrize("conditions", [{}, {"search_terms": []}, {"locations": []}, {"search_terms": "robotik"}])
async def test_empty_searches_raise(lf: AsyncLeadfeeder, conditions: dict[str, list[str]]) -> None:
    """A search with no condition, an empty one, or a string instead of a list raises before anything is sent."""
    with pytest.raises(ConfigurationError):
        lf.companies.search(**conditions)
    assert lf.stats.requests == 0


async def test_visits_of_a_company(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """``company_id`` has the same effect as argument, in a Struct and in a mapping."""
    period = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
    visits = await lf.web_visits.search(**period, company_id="159000033", include=["company"]).collect()
    assert visits
    assert {visit.company and visit.company.name for visit in visits} == {
        (await lf.companies.get("159000033")).data.name
    }
    for filters in (WebVisitFilters(company_id="159000033"), {"company_id": "159000033"}):
        filtered = await lf.web_visits.search(**period, filters=filters).collect()
        assert [visit.id for visit in filtered] == [visit.id for visit in visits]


async def test_visits_by_country(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Filters can be combined with a company."""
    period = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
    filters = WebVisitFilters(location_country_codes=("FI",))
    finnish = await lf.web_visits.search(**period, filters=filters).collect()
    assert {visit.location and visit.location.country_code for visit in finnish} == {"FI"}
    company = finnish[0].company
    assert company is not None
    combined = await lf.web_visits.search(**period, filters=filters, company_id=company.id).collect()
    assert 0 < len(combined) < len(finnish)


async def test_visits_of_one_day(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Date ranges include both of their days, and consecutive days do not overlap."""
    days = [sandbox.start_date + timedelta(number) for number in range(30)]
    counts = [await lf.web_visits.search(start_date=day, end_date=day).count() for day in days]
    assert sum(count or 0 for count in counts) == 500


async def test_visitor_companies(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Each record is a company at a location, with its attributes if ``include`` names it."""
    period = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
    rows = await lf.web_visits.companies(**period, include=["company"]).collect()
    assert len({row.id for row in rows}) == len(rows) > 20
    assert all(row.company and row.company.name and row.location and row.location.city for row in rows)
