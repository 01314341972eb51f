"""Each method, against the sandbox: what it sends, gives and charges."""

from __future__ import annotations

from datetime import timedelta
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
    """``list`` names the key's accounts, ``get`` shows the default or a named one with its credits."""
    assert [account.name for account in (await lf.accounts.list()).data] == ["Seller 1"]
    account = (await lf.accounts.get()).data
    assert account.credits is not None
    assert (account.id, account.credits.remaining) == (sandbox.account_id, 5_000)
    with pytest.raises(BadRequestError):
        await lf.accounts.get(include=["nonsense"])


async def test_me(lf: AsyncLeadfeeder) -> None:
    """``users.me`` gives the key's user."""
    assert (await lf.users.me()).data.email == "ada@seller.test"


async def test_company_is_charged_once(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """The first read of a company charges a credit, the next reads do not."""
    first = await lf.companies.get("159000007", include=["tags", "crm_connections.crm_record"])
    again = await lf.companies.get("159000007")
    assert (first.meta.charged, again.meta.charged) == (1, 0)
    assert first.data == again.data
    assert sandbox.ledger.charges == ["159000007"]
    assert (await lf.accounts.get()).data.credits == lf_balance(used=1)


def lf_balance(used: int) -> object:
    from datetime import date

    from leadfeeder_async.models.accounts import AccountCredits

    return AccountCredits(available=5_000, used=used, remaining=5_000 - used, next_reset_on=date(2027, 1, 1))


async def test_credits_run_out() -> None:
    """Without credits a read is refused, and charges nothing."""
    async with Sandbox(credits=2, rate_limit=False) as sandbox, client_for(sandbox) as lf:
        with pytest.raises(InsufficientCreditsError, match="402"):
            await lf.companies.get_many([str(159_000_000 + number) for number in range(3)]).collect()
        assert sandbox.ledger.credits_charged == 0


@pytest.mark.parametrize("company_id", ["..", ".", "", "a\nb", 159_000_000])
async def test_bad_ids_are_not_sent(sandbox: Sandbox, lf: AsyncLeadfeeder, company_id: Any) -> None:
    """An id that would lead to another route, or is a number, never leaves."""
    with pytest.raises(InvalidIdError):
        await lf.companies.get(company_id)
    assert sandbox.ledger.requests == []


async def test_company_search_finds(lf: AsyncLeadfeeder) -> None:
    """Terms, places and sizes narrow a search; Structs and plain mappings say the same."""
    german = await lf.companies.search(locations=[SearchLocation(country_code="DE")]).collect()
    assert {company.attributes.address.country_code for company in german if company.attributes.address} == {"DE"}
    assert german == await lf.companies.search(locations=[{"country_code": "DE"}], page_size=3).collect()
    narrowed = await lf.companies.search(locations=[{"country_code": "DE"}], employee_ranges=["1.001-5.000"]).collect()
    assert 0 < len(narrowed) < len(german)


async def test_company_search_body() -> None:
    """Every condition reaches the body under the API's name, and what is left out does not."""
    empty = http(b'{"data":[],"meta":{}}')
    async with raw_server(empty) as server, client_of(server.url) as lf:
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
async def test_empty_searches_are_refused(lf: AsyncLeadfeeder, conditions: dict[str, list[str]]) -> None:
    """A search without conditions, with an empty one or with a text for a list, raises before sending."""
    with pytest.raises(ConfigurationError):
        lf.companies.search(**conditions)
    assert lf.stats.requests == 0


async def test_visits_of_a_company(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """``company_id`` alone, in a Struct and in a mapping narrows alike; ``include`` shows the company."""
    span = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
    found = await lf.web_visits.search(**span, company_id="159000003", include=["company"]).collect()
    assert found
    assert {visit.company and visit.company.name for visit in found} == {
        (await lf.companies.get("159000003")).data.name
    }
    for filters in (WebVisitFilters(company_id="159000003"), {"company_id": "159000003"}):
        same = await lf.web_visits.search(**span, filters=filters).collect()
        assert [visit.id for visit in same] == [visit.id for visit in found]


async def test_visits_by_country(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Filters of the contract reach the server, together with a company."""
    span = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
    filters = WebVisitFilters(location_country_codes=("FI",))
    finnish = await lf.web_visits.search(**span, filters=filters).collect()
    assert {visit.location and visit.location.country_code for visit in finnish} == {"FI"}
    one = finnish[0].company
    assert one is not None
    assert 0 < len(await lf.web_visits.search(**span, filters=filters, company_id=one.id).collect()) < len(finnish)


async def test_visits_of_one_day(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Both days of a range are included, and days follow one another without overlap."""
    days = [sandbox.start_date + timedelta(number) for number in range(30)]
    counts = [await lf.web_visits.search(start_date=day, end_date=day).count() for day in days]
    assert sum(count or 0 for count in counts) == 500


async def test_visitor_companies(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """Each row is a company at a place; its visits can be asked for."""
    span = {"start_date": sandbox.start_date, "end_date": sandbox.end_date}
    found = await lf.web_visits.companies(**span, include=["company"]).collect()
    assert len({row.id for row in found}) == len(found) > 20
    assert all(row.company and row.company.name and row.location and row.location.city for row in found)
