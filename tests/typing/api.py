"""Code as users write it. Type checkers read this file, and nothing runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime
from ipaddress import ip_address
from typing import assert_type, cast

import pandas as pd
import polars as pl

import leadfeeder_async
from leadfeeder_async import (
    AsyncLeadfeeder,
    Enrichment,
    EnrichmentEstimate,
    EnrichmentResult,
    EnrichmentSummary,
    IdPager,
    LeadfeederError,
    MultiAccountPager,
    OnProgress,
    Outcome,
    Page,
    Pager,
    Progress,
)
from leadfeeder_async.models import (
    Account,
    AccountSummary,
    ApiUsage,
    BuyerPersona,
    Cell,
    Company,
    CompanyFinancials,
    CompanyInclude,
    CompanyLocation,
    CompanyMatch,
    CompanySearchFiltersDict,
    CompanySummary,
    Contact,
    ContactSummary,
    CustomFeed,
    CustomField,
    EnrichedIp,
    Icp,
    List,
    ListItem,
    NaceCode,
    Response,
    RevenueRange,
    SearchLocation,
    SearchLocationDict,
    Signal,
    Tag,
    User,
    WebVisit,
    WebVisitFilters,
    WebVisitFiltersDict,
)
from leadfeeder_async.report import Report, Totals, write_report


async def single_records(lf: AsyncLeadfeeder) -> None:
    assert_type(await lf.accounts.list(), Response[tuple[AccountSummary, ...]])
    assert_type(await lf.accounts.get(), Response[Account])
    assert_type(await lf.users.me(), Response[User])
    response = await lf.companies.get("1", include=["tags"])
    assert_type(response, Response[Company])
    assert_type(response.meta.charged, int)
    assert_type(response.data.name, str | None)
    assert_type(response.data.to_dict(), dict[str, object])
    assert_type(response.to_dict(), dict[str, object])


async def lists(lf: AsyncLeadfeeder) -> None:
    pager = lf.web_visits.search(start_date="2026-11-01", end_date=date(2026, 11, 2), filters=WebVisitFilters())
    assert_type(pager, Pager[WebVisit])
    async for visit in pager:
        assert_type(visit.started_at, datetime | None)
        assert_type(visit.company, Company | None)
        name: str | None = visit.company_name
        assert_type((visit.company_id, name, visit.company_url), tuple[str | None, str | None, str | None])
        assert_type((visit.location_city, visit.location_country_code), tuple[str | None, str | None])
        assert_type((visit.company_country, visit.landing_page), tuple[str | None, str | None])
    async for page in pager.pages():
        assert_type(page, Page[WebVisit])
    async for batch in pager.batches(10):
        assert_type(batch, list[WebVisit])
    assert_type(await pager.first(), WebVisit | None)
    assert_type(await pager.collect(limit=3), list[WebVisit])
    assert_type(await pager.count(), int | None)
    assert_type(lf.web_visits.companies(start_date="2026-11-01", end_date="2026-11-02"), Pager[CompanyLocation])
    assert_type(lf.companies.get_many(["1"]), IdPager[Company])


def shortcuts(company: Company, visitor: CompanyLocation, signal: Signal, contact: Contact, ip: EnrichedIp) -> None:
    assert_type((company.country, company.country_code, company.city), tuple[str | None, str | None, str | None])
    assert_type((company.industry, company.employee_range), tuple[str | None, str | None])
    assert_type(
        (visitor.company_name, visitor.company_url, visitor.location_city), tuple[str | None, str | None, str | None]
    )
    assert_type((signal.company_name, signal.title), tuple[str | None, str | None])
    assert_type((contact.company_id, contact.company_name), tuple[str | None, str | None])
    assert_type((ip.company_id, ip.company_name, ip.location_country_code), tuple[str | None, str | None, str | None])


async def frames(lf: AsyncLeadfeeder, visit: WebVisit) -> None:
    pager = lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-02", include=["company"])
    assert_type(await pager.to_polars(fields=["id", "company.name"]), pl.DataFrame)
    assert_type(await pager.to_pandas(), pd.DataFrame)
    assert_type(visit.to_row(), dict[str, Cell])


def searches(lf: AsyncLeadfeeder) -> Pager[CompanySummary]:
    lf.companies.search(locations=[{"country_code": "DE"}], revenue={"min": 1})
    return lf.companies.search(
        locations=[SearchLocation(country_code="DE")], employee_ranges=["501-1.000"], revenue=RevenueRange(min=1)
    )


def searches_with_dicts(lf: AsyncLeadfeeder) -> None:
    hamburg: SearchLocationDict = {"city": "Hamburg", "geo": {"latitude": 53.5, "longitude": 10, "distance": 50}}
    filters: CompanySearchFiltersDict = {"has_email": True}
    lf.companies.search(locations=[hamburg, SearchLocation(city="Bonn")], filters=filters, extra={"new": ["x"]})
    lf.companies.search(industries={"codes": ["28.99"], "classification": "nace"})
    lf.companies.search_signals(company_ids=("1",), event_date={"from": "2026-01-01", "to": date(2026, 11, 1)})
    visits: WebVisitFiltersDict = {"company_id": "1", "location_country_codes": ["DE"], "location_cities": ("Bonn",)}
    lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-02", filters=visits, include=["company"])
    lf.contacts.search(filters={"has_email": True}, departments=["sales_department"])
    names: list[CompanyInclude] = ["tags", cast("CompanyInclude", "brand_new")]
    lf.companies.get_many(["1"], include=names)


async def any_route(lf: AsyncLeadfeeder) -> None:
    assert_type(await lf.request("GET", "/v1/x"), dict[str, object])
    assert_type(
        await lf.request("GET", "/v1/x", returns=Response[Company], idempotent=True, may_charge=False),
        Response[Company],
    )


async def other_resources(lf: AsyncLeadfeeder) -> None:
    assert_type(lf.tags.list(), Pager[Tag])
    assert_type(await lf.tags.create(name="x"), Response[Tag])
    assert_type(await lf.tags.update("1", color=None), Response[Tag])
    assert_type(await lf.tags.delete("1"), Response[None])
    assert_type(lf.lists.list(scope="company"), Pager[List])
    assert_type(lf.lists.items("1"), Pager[ListItem])
    assert_type(lf.custom_fields.list(scope="contact"), Pager[CustomField])
    assert_type(lf.custom_feeds.list(has_connected_list=True), Pager[CustomFeed])
    assert_type([icp async for icp in lf.icps.list()], list[Icp])
    assert_type(await lf.buyer_personas.list().first(), BuyerPersona | None)
    assert_type(await lf.companies.match([{"url": "x.test"}]), Response[tuple[tuple[CompanyMatch, ...], ...]])
    assert_type(await lf.companies.financials("1"), Response[tuple[CompanyFinancials, ...]])
    assert_type(lf.companies.search_signals(company_ids=["1"], categories=["job_ads"]), Pager[Signal])
    assert_type(await lf.companies.assign_tags("1", ["2"]), Response[None])
    assert_type(lf.contacts.search(emails=["a@b.test"]), Pager[ContactSummary])
    assert_type(await lf.contacts.get("1"), Response[Contact])
    assert_type((await lf.ip.enrich("203.0.113.17")).data.company, Company | None)
    assert_type(await lf.usage.get(start_period="2026-10", end_period="2026-11"), Response[tuple[ApiUsage, ...]])
    assert_type(lf.reference.nace_codes(), tuple[NaceCode, ...])
    assert_type(lf.companies.get_many(["1"]).missing, tuple[str, ...])


async def enrichment(lf: AsyncLeadfeeder, rows: AsyncIterator[dict[str, object]]) -> None:
    companies = lf.enrich.companies(["nordlicht.test", {"domain": "alster.test"}], by="domain", max_credits=5)
    assert_type(companies, Enrichment[Company])
    async for result in companies:
        assert_type(result, EnrichmentResult[Company])
        assert_type(result.record, Company | None)
        assert_type(result.outcome, Outcome)
        assert_type(result.error, LeadfeederError | None)
    assert_type([lines async for lines in companies.raw_lines()], list[bytes])
    assert_type(await companies.estimate(), EnrichmentEstimate)
    assert_type(await companies.to_file("x.ndjson", resume=True), EnrichmentSummary)
    assert_type(lf.enrich.companies(rows, by="name", ordered=False), Enrichment[Company])
    ips = lf.enrich.ips([ip_address("203.0.113.17"), "2001:db8::1"])
    assert_type(ips, Enrichment[EnrichedIp])
    assert_type([result.record async for result in ips], list[EnrichedIp | None])


async def exports(lf: AsyncLeadfeeder) -> None:
    def show(progress: Progress) -> None:
        assert_type(progress.eta, float | None)

    on_progress: OnProgress = show
    assert_type(await lf.tags.list().to_file("tags.csv", overwrite=True, on_progress=on_progress), Progress)


async def options(lf: AsyncLeadfeeder) -> None:
    assert_type(lf.with_options(account_id="1", timeout=3, retries=0), AsyncLeadfeeder)


async def errors(lf: AsyncLeadfeeder) -> AsyncIterator[str]:
    try:
        await lf.users.me()
    except LeadfeederError as error:
        assert_type(error.status, int | None)
        assert_type(error.retry_at, datetime | None)
        yield error.sent


async def several_accounts(lf: AsyncLeadfeeder) -> None:
    pager = lf.sweep(["1", "2"], lambda account: account.tags.list())
    assert_type(pager, MultiAccountPager[Tag])
    async for account_id, tag in pager:
        assert_type(account_id, str)
        assert_type(tag, Tag)
    async for _, page in pager.pages():
        assert_type(page, Page[Tag])
    async for account_id, visit in lf.watch_accounts(["1", "2"], state="states"):
        assert_type(account_id, str)
        assert_type(visit, WebVisit)


def report() -> None:
    written = write_report(
        "leadfeeder.duckdb", "report.html", since=date(2026, 11, 1), until="2026-11-30", overwrite=True
    )
    assert_type(written, Report)
    assert_type(written.totals.visits, int)
    assert_type(written.visitors[0].name, str | None)
    assert_type(written.totals_before, Totals | None)


def names() -> None:
    assert_type(leadfeeder_async.AsyncLeadfeeder("k"), AsyncLeadfeeder)
    assert_type(leadfeeder_async.models.WebVisit, type[WebVisit])
    _ = leadfeeder_async.models.Company(id="1").misspelled  # type: ignore[attr-defined]
    _ = leadfeeder_async.models.Compny  # type: ignore[attr-defined]
    _ = leadfeeder_async.Leadfeeder  # type: ignore[attr-defined]  # type checkers find misspelled names
