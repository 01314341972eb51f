"""What a user writes, as the type checkers see it: never run, only checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import assert_type

from leadfeeder_async import AsyncLeadfeeder, IdPager, LeadfeederError, Page, Pager, Resend
from leadfeeder_async.models import (
    Company,
    CompanyLocation,
    CompanySummary,
    RevenueRange,
    SearchLocation,
    WebVisit,
    WebVisitFilters,
)
from leadfeeder_async.models.accounts import Account, AccountSummary, User
from leadfeeder_async.models.envelope import Response


async def single_objects(lf: AsyncLeadfeeder) -> None:
    assert_type(await lf.accounts.list(), Response[tuple[AccountSummary, ...]])
    assert_type(await lf.accounts.get(), Response[Account])
    assert_type(await lf.users.me(), Response[User])
    answer = await lf.companies.get("1", include=["tags"])
    assert_type(answer, Response[Company])
    assert_type(answer.meta.charged, int)
    assert_type(answer.data.name, str | None)


async def lists(lf: AsyncLeadfeeder) -> None:
    pager = lf.web_visits.search(start_date="2026-11-01", end_date=date(2026, 11, 2), filters=WebVisitFilters())
    assert_type(pager, Pager[WebVisit])
    async for visit in pager:
        assert_type(visit.started_at, datetime | None)
        assert_type(visit.company, Company | None)
    async for page in pager.pages():
        assert_type(page, Page[WebVisit])
    async for batch in pager.batches(10):
        assert_type(batch, list[WebVisit])
    assert_type(await pager.first(), WebVisit | None)
    assert_type(await pager.collect(limit=3), list[WebVisit])
    assert_type(await pager.count(), int | None)
    assert_type(lf.web_visits.companies(start_date="2026-11-01", end_date="2026-11-02"), Pager[CompanyLocation])
    assert_type(lf.companies.list(["1"]), IdPager[Company])


def searches(lf: AsyncLeadfeeder) -> Pager[CompanySummary]:
    lf.companies.search(locations=[{"country_code": "DE"}], revenue={"min": 1})
    return lf.companies.search(
        locations=[SearchLocation(country_code="DE")], employee_ranges=["501-1.000"], revenue=RevenueRange(min=1)
    )


async def escape_hatch(lf: AsyncLeadfeeder) -> None:
    assert_type(await lf.request("GET", "/v1/x"), dict[str, object])
    assert_type(await lf.request("GET", "/v1/x", returns=Response[Company], resend=Resend.READ), Response[Company])


async def options(lf: AsyncLeadfeeder) -> None:
    assert_type(lf.with_options(account_id="1", timeout=3, retries=0), AsyncLeadfeeder)


async def errors(lf: AsyncLeadfeeder) -> AsyncIterator[str]:
    try:
        await lf.users.me()
    except LeadfeederError as error:
        assert_type(error.status, int | None)
        assert_type(error.retry_at, datetime | None)
        yield error.sent
