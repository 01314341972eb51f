"""``leadfeeder companies``, ``leadfeeder contacts`` and ``leadfeeder ip``: look up single records."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from leadfeeder_async.budget import Budget
from leadfeeder_async.cli.options import (
    DEFAULT_OUTPUT,
    OPTIONS_GROUP,
    REPEATABLE,
    AccountId,
    CompanyIds,
    Countries,
    DisplayOptions,
    IcpIds,
    MaxCredits,
    MaxShown,
    Positions,
    Terms,
    country_code,
    country_codes,
)
from leadfeeder_async.cli.printing import format_charge, print_err
from leadfeeder_async.cli.record_tables import (
    TableSchema,
    schema_of,
    schema_of_names,
    show_list,
    show_record,
    show_records,
    to_record,
)
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import check_argument
from leadfeeder_async.models.companies import CompanyMatch, CompanySummary
from leadfeeder_async.models.contacts import ContactSummary
from leadfeeder_async.models.records import Company
from leadfeeder_async.models.search_filters import CompanyMatchInput, SearchLocation

companies = App(name="companies", help="Search for companies and look them up.", group_parameters=OPTIONS_GROUP)
contacts = App(name="contacts", help="Search for contacts at companies.", group_parameters=OPTIONS_GROUP)

COMPANY = schema_of(Company, {})
COMPANY_SUMMARY = schema_of(
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
CONTACT_SUMMARY = schema_of(
    ContactSummary,
    {"id": "id", "name": "name", "hierarchy_level": "level", "email": "email", "company.id": "company"},
    never_truncated=("id", "company.id"),
)
MATCH = schema_of_names("score", "id", "name", "city", "country", "url")
_RELATED_FIELDS = {
    "company": ("id", "name", "url"),
    "location": ("city", "region", "country_code"),
    "network": ("name", "asn", "cidr"),
}
IP_ADDRESS = TableSchema(
    {
        **{name: ("attributes", name) for name in ("ip", "company_type", "confidence_score")},
        **{
            f"{relationship}.{name}": ("relationships", relationship, *(() if name == "id" else ("attributes",)), name)
            for relationship, names in _RELATED_FIELDS.items()
            for name in names
        },
    },
    {},
)

Words = Annotated[list[str] | None, REPEATABLE, Parameter(help="Search terms.")]


@companies.command(name="search")
async def search_companies(
    words: Words = None,
    /,
    *,
    term: Terms = None,
    country: Countries = None,
    icp_id: IcpIds = None,
    limit: MaxShown = 25,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> None:
    """Search for companies and show summaries.

    Credits: none.
    """
    COMPANY_SUMMARY.check_fields(output)
    terms = [*(words or ()), *(term or ())] or None
    check_argument(terms or country or icp_id, "The search has no conditions.", "Add terms, --country or --icp-id.")
    locations = [SearchLocation(country_code=code) for code in country_codes(country)] or None
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        pager = lf.companies.search(search_terms=terms, locations=locations, icp_ids=icp_id, limit=limit)
        more = "Use --limit for more or `leadfeeder export companies` for all."
        await show_list(pager, COMPANY_SUMMARY, output, "company", more=more)


@companies.command(name="get")
async def get_company(
    company_id: Annotated[str, Parameter(help="The id of the company.")],
    /,
    *,
    max_credits: MaxCredits = None,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> None:
    """Get a company with all its fields.

    Credits: 1, or 0 if the company was unlocked in the last 12 months.
    """
    COMPANY.check_fields(output)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        response = await lf.with_options(budget=Budget(max_credits=max_credits)).companies.get(company_id)
    show_record(to_record(response.data), COMPANY, output)
    print_err(f"{format_charge(response.meta.charged)}.")


@companies.command(name="match")
async def match_company(
    name: Annotated[str | None, Parameter(help="The name of the company.")] = None,
    /,
    *,
    url: Annotated[str | None, Parameter(help="The website of the company.")] = None,
    vat_id: Annotated[str | None, Parameter(help="The VAT id of the company.")] = None,
    country: Annotated[str | None, Parameter(help="The country code of the company, such as DE.")] = None,
    limit: Annotated[int, Parameter(help="Show at most this many matches, from 1 to 20.")] = 5,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> None:
    """Find a company by name, website or VAT id, best match first.

    Credits: none.
    """
    MATCH.check_fields(output)
    check_argument(name or url or vat_id, "There is nothing to match.", "Add a name, --url or --vat-id.")
    given = CompanyMatchInput(
        company_name=name, url=url, vat_id=vat_id, country_code=None if country is None else country_code(country)
    )
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        matches = (await lf.companies.match([given], limit)).data
    show_records([to_record(_match_row(match)) for match in (matches[0] if matches else ())], MATCH, output, "match")


def _match_row(match: CompanyMatch) -> dict[str, object]:
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
    company_id: CompanyIds = None,
    position: Positions = None,
    limit: MaxShown = 25,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> None:
    """Search for contacts at companies and show summaries.

    Credits: none.
    """
    CONTACT_SUMMARY.check_fields(output)
    terms = [*(words or ()), *(term or ())] or None
    check_argument(
        terms or company_id or position,
        "The search has no conditions.",
        "Add terms, --company-id or --position.",
    )
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        pager = lf.contacts.search(search_terms=terms, company_ids=company_id, positions=position, limit=limit)
        more = "Use --limit for more or `leadfeeder export contacts` for all."
        await show_list(pager, CONTACT_SUMMARY, output, "contact", more=more)


async def ip(
    address: Annotated[str, Parameter(help="An IPv4 or IPv6 address.")],
    /,
    *,
    max_credits: MaxCredits = None,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> None:
    """Look up the company, location and network of an IP address.

    Credits: possibly 1 or more. The price is not published.
    """
    IP_ADDRESS.check_fields(output)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        response = await lf.with_options(budget=Budget(max_credits=max_credits)).ip.enrich(address)
    show_record(to_record(response.data), IP_ADDRESS, output)
    unknown = "" if response.data.company else "The company of this address is unknown. "
    print_err(f"{unknown}{format_charge(response.meta.charged)}.")
