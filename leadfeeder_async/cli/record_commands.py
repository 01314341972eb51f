"""``leadfeeder companies``, ``contacts`` and ``ip``: look records up, a few at a time."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from leadfeeder_async.budget import Budget
from leadfeeder_async.cli.export_commands import IcpIds, Terms
from leadfeeder_async.cli.record_tables import (
    OutputOptions,
    TableSchema,
    flat,
    record_of,
    schema_of,
    show,
    show_list,
    show_one,
)
from leadfeeder_async.cli.terminal import format_charge, print_note
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import check_argument
from leadfeeder_async.models.companies import CompanyMatch, CompanySummary
from leadfeeder_async.models.contacts import ContactSummary
from leadfeeder_async.models.records import Company

companies = App(name="companies", help="Find companies, and get one whole.")
contacts = App(name="contacts", help="Find people at companies.")

COMPANY = schema_of(Company, {})
FOUND_COMPANY = schema_of(
    CompanySummary,
    {
        "id": "id",
        "name": "name",
        "address.city": "city",
        "address.country_code": "country",
        "employee_range": "employees",
        "url": "url",
    },
)
FOUND_CONTACT = schema_of(
    ContactSummary,
    {"id": "id", "name": "name", "hierarchy_level": "level", "email": "email", "company.id": "company"},
    whole=("id", "company.id"),
)
MATCH = flat("score", "id", "name", "city", "country", "url")
_BEHIND = {
    "company": ("id", "name", "url"),
    "location": ("city", "region", "country_code"),
    "network": ("name", "asn", "cidr"),
}
ADDRESS = TableSchema(
    {
        **{name: ("attributes", name) for name in ("ip", "company_type", "confidence_score")},
        **{
            f"{part}.{key}": ("relationships", part, *(() if key == "id" else ("attributes",)), key)
            for part, keys in _BEHIND.items()
            for key in keys
        },
    },
    {},
)

Limit = Annotated[int, Parameter(help="Show this many at most.")]
Words = Annotated[list[str] | None, Parameter(negative=(), help="What to search for.")]
MaxCredits = Annotated[int | None, Parameter(help="Send nothing that could charge more credits than this.")]


@companies.command(name="search")
async def search_companies(
    words: Words = None,
    /,
    *,
    term: Terms = None,
    country: Annotated[list[str] | None, Parameter(negative=(), help="A country code; may be repeated.")] = None,
    icp_id: IcpIds = None,
    limit: Limit = 25,
    view: OutputOptions | None = None,
) -> None:
    """Search companies; free, since the rows are summaries."""
    view = view or OutputOptions()
    FOUND_COMPANY.chosen(view)
    terms = [*(words or ()), *(term or ())] or None
    check_argument(terms or country or icp_id, "There is nothing to search for.", "Give words, --country or --icp-id.")
    locations = [{"country_code": code} for code in country] if country else None
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        found = lf.companies.search(search_terms=terms, locations=locations, icp_ids=icp_id, limit=limit)
        await show_list(found, FOUND_COMPANY, view, "companies", more="--limit shows more, `export companies` all.")


@companies.command(name="get")
async def get_company(
    company_id: Annotated[str, Parameter(help="The company's id.")],
    /,
    *,
    max_credits: MaxCredits = None,
    view: OutputOptions | None = None,
) -> None:
    """Get one company whole; charges 1 credit unless it was unlocked in the last 12 months."""
    view = view or OutputOptions()
    COMPANY.chosen(view)
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        answer = await lf.with_options(budget=Budget(max_credits=max_credits)).companies.get(company_id)
    show_one(record_of(answer.data), COMPANY, view)
    print_note(format_charge(answer.meta.charged))


@companies.command(name="match")
async def match_company(
    name: Annotated[str | None, Parameter(help="The company's name.")] = None,
    /,
    *,
    url: Annotated[str | None, Parameter(help="Its website.")] = None,
    vat_id: Annotated[str | None, Parameter(help="Its VAT id.")] = None,
    country: Annotated[str | None, Parameter(help="Its country code.")] = None,
    limit: Annotated[int, Parameter(help="Show this many at most, 1 to 20.")] = 5,
    view: OutputOptions | None = None,
) -> None:
    """Find which company is meant by a name, a website or a VAT id, best match first; free."""
    view = view or OutputOptions()
    MATCH.chosen(view)
    check_argument(name or url or vat_id, "There is nothing to match by.", "Give a name, --url or --vat-id.")
    known = {"company_name": name, "url": url, "vat_id": vat_id, "country_code": country}
    wanted = {key: value for key, value in known.items() if value is not None}
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        matches = (await lf.companies.match([wanted], limit)).data
    show([record_of(_row(match)) for match in (matches[0] if matches else ())], MATCH, view, "matches")


def _row(match: CompanyMatch) -> dict[str, object]:
    company = match.company or CompanySummary(id=match.id)
    address = company.attributes.address
    return {
        "score": match.score,
        "id": company.id,
        "name": company.name,
        "city": address and address.city,
        "country": address and address.country_code,
        "url": company.url,
    }


@contacts.command(name="search")
async def search_contacts(
    words: Words = None,
    /,
    *,
    term: Terms = None,
    company_id: Annotated[list[str] | None, Parameter(negative=(), help="At this company; may be repeated.")] = None,
    position: Annotated[list[str] | None, Parameter(negative=(), help="A job title; may be repeated.")] = None,
    limit: Limit = 25,
    view: OutputOptions | None = None,
) -> None:
    """Search people at companies; free, since the rows are summaries."""
    view = view or OutputOptions()
    FOUND_CONTACT.chosen(view)
    terms = [*(words or ()), *(term or ())] or None
    check_argument(
        terms or company_id or position, "There is nothing to search for.", "Give words, --company-id or --position."
    )
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        found = lf.contacts.search(search_terms=terms, company_ids=company_id, positions=position, limit=limit)
        await show_list(found, FOUND_CONTACT, view, "contacts", more="--limit shows more, `export contacts` all.")


async def ip(
    address: Annotated[str, Parameter(help="An IPv4 or IPv6 address.")],
    /,
    *,
    max_credits: MaxCredits = None,
    view: OutputOptions | None = None,
) -> None:
    """Show the company, place and network behind an IP address; may charge (the price is not published)."""
    view = view or OutputOptions()
    ADDRESS.chosen(view)
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        answer = await lf.with_options(budget=Budget(max_credits=max_credits)).ip.enrich(address)
    show_one(record_of(answer.data), ADDRESS, view)
    unknown = "" if answer.data.company else "No company is known behind this address. "
    print_note(unknown + format_charge(answer.meta.charged))
