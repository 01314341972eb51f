"""``leadfeeder export``: one command per list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from cyclopts import App, Parameter
from msgspec.structs import replace

from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async.budget import Budget
from leadfeeder_async.cli.dates import parse_day, start_date_of_export
from leadfeeder_async.cli.export_job import export_list
from leadfeeder_async.cli.input_files import check_output_is_not_input, read_text
from leadfeeder_async.cli.options import (
    DEFAULT_TARGET,
    FLAG,
    OPTIONS_GROUP,
    REPEATABLE,
    CompanyIds,
    Countries,
    ExportOptions,
    FeedId,
    IcpIds,
    MaxCredits,
    Positions,
    Scope,
    Since,
    Terms,
    Until,
    country_codes,
    csv_dialect,
    split_fields,
)
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.jobs.export_state import EXPORT
from leadfeeder_async.jobs.resumable_file import load_unfinished
from leadfeeder_async.models.companies import Signal
from leadfeeder_async.models.includes import WebVisitInclude
from leadfeeder_async.models.search_filters import SearchLocation, WebVisitFilters, WebVisitSearchRequest
from leadfeeder_async.pagination.date_range import DateWindow, parse_time_zone
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.resources.body_checks import check_arguments
from leadfeeder_async.types import VisitOrder

T = TypeVar("T", bound=HasId)

DayZone = Annotated[str, Parameter(name="--tz", help="The time zone of --since and --until, such as Europe/Berlin.")]
IncludeCompany = Annotated[
    bool,
    FLAG,
    Parameter(help="Include all fields of each company, not only its id. --fields with one of them includes them too."),
]

export = App(name="export", help="Export a list to a file or to stdout.", group_parameters=OPTIONS_GROUP)


@export.command
async def visits(
    *,
    since: Since = "30d",
    until: Until = "today",
    company_id: Annotated[str | None, Parameter(help="Only visits of this company.")] = None,
    country: Countries = None,
    filter: Annotated[  # noqa: A002 - the name of the option
        str | None,
        Parameter(
            help='Filters of the API as JSON, such as \'{"location_cities":["Berlin"]}\', or a JSON file of them.'
        ),
    ] = None,
    feed: FeedId = None,
    include_company: IncludeCompany = False,
    order: Annotated[
        VisitOrder, Parameter(help="`newest` begins with the latest visit, so that --limit 20 exports the latest 20.")
    ] = "oldest",
    tz: DayZone = "UTC",
    target: ExportOptions = DEFAULT_TARGET,
) -> None:
    """Export website visits.

    The API returns at most 10,000 visits for a search. Longer periods are split, so the export is complete.

    Credits: none.
    """
    include = _included(target, is_wanted=include_company)
    days = _date_range(since, until, tz, target)
    filters = None if filter is None else read_filter_option(filter, target.out)
    if country:
        filters = _with_countries(filters or WebVisitFilters(), country)
    await _export(
        "visit",
        target,
        lambda lf: lf.web_visits.search(
            start_date=days.start,
            end_date=days.end,
            company_id=company_id,
            filters=filters,
            custom_feed_id=feed,
            include=include,
            limit=target.limit,
            order=order,
            tz=tz,
        ),
        f"{days} {tz}",
    )


@export.command
async def visitor_companies(
    *,
    since: Since = "30d",
    until: Until = "today",
    feed: FeedId = None,
    include_company: IncludeCompany = False,
    tz: DayZone = "UTC",
    target: ExportOptions = DEFAULT_TARGET,
) -> None:
    """Export the companies that visited, one row per company and location.

    Credits: none.
    """
    include = _included(target, is_wanted=include_company)
    check_argument(
        tz == "UTC",
        f"--tz {tz} cannot be used, because the API lists visiting companies by days in UTC.",
        "Use `leadfeeder export visits --tz`, which has the company of each visit.",
    )
    days = _date_range(since, until, tz, target)
    await _export(
        "visitor company",
        target,
        lambda lf: lf.web_visits.companies(
            start_date=days.start, end_date=days.end, custom_feed_id=feed, include=include, limit=target.limit
        ),
        f"{days} {tz}",
    )


@export.command
async def companies(
    *,
    term: Terms = None,
    country: Countries = None,
    icp_id: IcpIds = None,
    target: ExportOptions = DEFAULT_TARGET,
) -> None:
    """Export the summaries of a company search.

    Credits: none.
    """
    check_argument(term or country or icp_id, "The search has no conditions.", "Add --term, --country or --icp-id.")
    locations = [SearchLocation(country_code=code) for code in country_codes(country)] or None
    await _export(
        "company",
        target,
        lambda lf: lf.companies.search(search_terms=term, locations=locations, icp_ids=icp_id, limit=target.limit),
    )


@export.command
async def contacts(
    *,
    term: Terms = None,
    company_id: CompanyIds = None,
    position: Positions = None,
    target: ExportOptions = DEFAULT_TARGET,
) -> None:
    """Export the summaries of a contact search.

    Credits: none.
    """
    check_argument(
        term or company_id or position, "The search has no conditions.", "Add --term, --company-id or --position."
    )
    await _export(
        "contact",
        target,
        lambda lf: lf.contacts.search(
            search_terms=term, company_ids=company_id, positions=position, limit=target.limit
        ),
    )


@export.command
async def signals(
    *,
    company_id: Annotated[list[str], REPEATABLE, Parameter(help="The id of a company. Can be repeated.")],
    max_credits: MaxCredits = None,
    target: ExportOptions = DEFAULT_TARGET,
) -> None:
    """Export signals, which are news about companies.

    Credits: 1 for each company that has signals and is not unlocked.
    """

    def search(lf: AsyncLeadfeeder) -> Pager[Signal]:
        budgeted = lf if max_credits is None else lf.with_options(budget=Budget(max_credits=max_credits))
        return budgeted.companies.search_signals(company_ids=company_id, limit=target.limit)

    await _export("signal", target, search)


@export.command
async def tags(*, target: ExportOptions = DEFAULT_TARGET) -> None:
    """Export the account's tags.

    Credits: none.
    """
    await _export("tag", target, lambda lf: lf.tags.list(limit=target.limit))


@export.command
async def lists(*, scope: Scope = "company", target: ExportOptions = DEFAULT_TARGET) -> None:
    """Export the account's lists.

    Credits: none.
    """
    await _export("list", target, lambda lf: lf.lists.list(scope=scope, limit=target.limit))


def read_filter_option(text: str, out: Path | None = None) -> WebVisitFilters:
    """Return the filters in a JSON object, or in a file that contains one, which must not be the output file."""
    if text.lstrip().startswith("{"):
        data: str | bytes = text
    else:
        check_output_is_not_input(Path(text), out)
        data = read_text(Path(text))
    try:
        filters = msgspec.json.decode(data, type=dict[str, object])
    except UNREADABLE as error:
        raise ConfigurationError(f"--filter is not a JSON object: {error}.") from None
    check_arguments(WebVisitSearchRequest, {"filters": filters})
    return msgspec.convert(filters, WebVisitFilters)


async def _export(
    noun: str, target: ExportOptions, make_pager: Callable[[AsyncLeadfeeder], Pager[T]], days: str | None = None
) -> None:
    async with AsyncLeadfeeder(account_id=target.account_id) as lf:
        await export_list(
            make_pager(lf),
            lf.stats,
            target.out,
            noun,
            days=days,
            limit=target.limit,
            resume=target.resume,
            overwrite=target.overwrite,
            csv_dialect=csv_dialect(target.out, excel=target.excel),
            fields=split_fields(target.fields),
        )


def _included(target: ExportOptions, *, is_wanted: bool) -> list[WebVisitInclude] | None:
    """Return the relations to include. Without the company, columns such as ``company.name`` would be empty."""
    names = split_fields(target.fields) or ()
    is_named = any(name.startswith("company.") and name != "company.id" for name in names)
    return ["company"] if is_wanted or is_named else None


def _with_countries(filters: WebVisitFilters, countries: list[str]) -> WebVisitFilters:
    check_argument(
        filters.location_country_codes is None,
        "--country and the location_country_codes of --filter exclude each other.",
        "Give the countries in one of them.",
    )
    return replace(filters, location_country_codes=tuple(country_codes(countries)))


def _date_range(since: str, until: str, tz: str, target: ExportOptions) -> DateWindow:
    """Parse the dates of an export. A resumed export keeps the dates of the day on which it was started."""
    today = datetime.now(parse_time_zone(tz)).date()
    unfinished = load_unfinished(target.out, EXPORT) if target.resume and target.out is not None else None
    if unfinished is not None and unfinished.state.days is not None:
        today = min(today, start_date_of_export(until, unfinished.state.days.end, today))
    start, end = parse_day(since, today), parse_day(until, today)
    check_argument(start <= end, f"--since {start} is after --until {end}.")
    return DateWindow(start, end)
