"""What each operation answers. The table at the end is the list of routes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated

import msgspec

from leadfeeder_async.sandbox.data import FIRST_COMPANY, place
from leadfeeder_async.sandbox.requests import Json, Operation, Query, Reply, by_cursor, numbered
from leadfeeder_async.sandbox.state import Refusal


def list_accounts(query: Query) -> Reply:
    """Accounts of the key, or one with its credits."""
    query.includes({"account_company"})
    if query.account is None:
        accounts = query.state.accounts.values()
        return Reply([{"id": one.id, "type": "account_summary", "attributes": {"name": one.name}} for one in accounts])
    one = query.account
    balance: Json = {
        "available": one.credits,
        "used": one.used,
        "remaining": one.credits - one.used,
        "next_reset_on": "2027-01-01",
    }
    return Reply([{"id": one.id, "type": "account", "attributes": {"name": one.name, "credits": balance}}])


def get_current_user(_: Query) -> Reply:
    """The key's user."""
    name: Json = {"email": "ada@seller.test", "first_name": "Ada", "last_name": "Sand", "team_role": "admin"}
    return Reply({"id": "u-1", "type": "user", "attributes": name})


_COMPANY_RELATIONS = (
    "group_company",
    "tags",
    "lists",
    "web_visits",
    "icps",
    "crm_connections",
    "crm_connections.crm_record",
    "crm_connections.crm_record.crm_owner",
    "crm_suggestions",
    "crm_suggestions.crm_record",
    "crm_suggestions.crm_record.crm_owner",
    "crm_group_connections",
    "crm_group_connections.crm_connection",
    "crm_group_connections.crm_connection.crm_record",
    "crm_group_connections.crm_connection.crm_record.crm_owner",
)


def get_company(query: Query) -> Reply:
    """One company, whole."""
    query.includes(_COMPANY_RELATIONS)
    company_id = query.ids["id"]
    if not query.state.world.has_company(company_id):
        raise Refusal(404, "entity_not_found", "No such company")
    charged = query.state.charge(query.the_account(), [company_id])
    return Reply(_company(query, company_id), charged=charged)


def retrieve_companies(query: Query) -> Reply:
    """Several companies, whole; unknown ids are left out."""
    query.includes(_COMPANY_RELATIONS)
    known = [one for one in query.ids_of("ids") if query.state.world.has_company(one)]
    charged = query.state.charge(query.the_account(), known)
    return Reply([_company(query, one) for one in known], charged=charged)


class Place(msgspec.Struct, frozen=True):
    """A place to search in, as far as the sandbox looks."""

    city: str | None = None
    country_code: str | None = None
    postal_code: str | None = None


class CompanySearch(msgspec.Struct, frozen=True):
    """The conditions of a company search that the sandbox applies; it takes the others and finds everything."""

    search_terms: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None
    employee_ranges: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None
    locations: Annotated[list[Place], msgspec.Meta(min_length=1)] | None = None


def search_companies(query: Query) -> Reply:
    """Company summaries that fit every condition."""
    if not query.body:
        raise Refusal(400, "invalid_request", "At least one criterion is needed")
    wanted, world = query.read(CompanySearch), query.state.world
    ids = (str(FIRST_COMPANY + number) for number in range(world.companies))
    found = [one for one in ids if _fits(world.company(one), wanted)]
    return by_cursor(query, found, lambda one: _company_summary(query, one))


def _fits(company: Json, wanted: CompanySearch) -> bool:
    text = f"{company['name']} {company['description']} {company['url']}".lower()
    address = msgspec.convert(company["address"], Place)
    return (
        all(term.lower() in text for term in wanted.search_terms or ())
        and (not wanted.employee_ranges or company["employee_range"] in wanted.employee_ranges)
        and (not wanted.locations or any(_is_there(one, address) for one in wanted.locations))
    )


def _is_there(wanted: Place, address: Place) -> bool:
    return (
        wanted.city in {None, address.city}
        and wanted.country_code in {None, address.country_code}
        and wanted.postal_code in {None, address.postal_code}
    )


class Days(msgspec.Struct, frozen=True):
    """The days of a search, both included."""

    start_date: date
    end_date: date

    def __post_init__(self) -> None:
        if self.start_date > self.end_date:
            raise ValueError("start_date is after end_date")


class VisitFilters(msgspec.Struct, frozen=True):
    """What narrows a visit search."""

    company_id: str | None = None
    location_country_codes: list[str] = []
    location_cities: list[str] = []


class VisitSearch(Days, frozen=True):
    """The body of a visit search."""

    filters: VisitFilters | None = None


def search_web_visits(query: Query) -> Reply:
    """Visits of some days, in order of time."""
    whole = "company" in query.includes({"company"})
    asked, world = query.read(VisitSearch), query.state.world
    filters = asked.filters or VisitFilters()
    if filters == VisitFilters():
        rows: Sequence[int] = world.visits_between(asked.start_date, asked.end_date)
    else:
        rows = world.visits_matching(
            asked.start_date,
            asked.end_date,
            filters.company_id,
            frozenset(filters.location_country_codes),
            frozenset(filters.location_cities),
        )
    return numbered(query, rows, lambda visit: _visit(query, visit, whole=whole), wall=True)


def retrieve_visitor_companies(query: Query) -> Reply:
    """Companies behind the visits of some days, by place."""
    whole = "company" in query.includes({"company"})
    days = query.read_params(Days)
    rows = query.state.world.visitors_between(days.start_date, days.end_date)
    return numbered(query, rows, lambda row: _visitor(query, *row, whole=whole), wall=True)


def _visit(query: Query, visit: int, *, whole: bool) -> Json:
    world = query.state.world
    company_id = world.company_of(visit)
    where = world.place_of(company_id, visit)
    return {
        "id": world.visit_id(visit),
        "type": "web_visit",
        "attributes": world.visit(visit),
        "relationships": {
            "company": _company(query, company_id) if whole else {"id": company_id, "type": "company"},
            "location": {"id": f"loc-{where}", "type": "visit_location", "attributes": place(where)},
        },
    }


def _visitor(query: Query, company_id: str, where: int, *, whole: bool) -> Json:
    return {
        "id": f"{company_id}-loc-{where}",
        "type": "company_location",
        "attributes": {},
        "relationships": {
            "company": _company(query, company_id) if whole else {"id": company_id, "type": "company"},
            "location": {"id": f"loc-{where}", "type": "location", "attributes": place(where)},
        },
    }


def _company(query: Query, company_id: str) -> Json:
    relations: Json = {"tags": [], "lists": [], "icps": [], "crm_connections": [], "crm_suggestions": []}
    attributes = query.state.world.company(company_id)
    return {"id": company_id, "type": "company", "attributes": attributes, "relationships": relations}


def _company_summary(query: Query, company_id: str) -> Json:
    shown = ("name", "role", "register", "meta", "url", "employee_range", "employee_count", "industries", "address")
    whole = query.state.world.company(company_id)
    return {"id": company_id, "type": "company_summary", "attributes": {key: whole[key] for key in shown}}


ROUTES: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/accounts"): list_accounts,
    ("GET", "/v1/users/me"): get_current_user,
    ("GET", "/v1/companies"): retrieve_companies,
    ("POST", "/v1/companies/search"): search_companies,
    ("GET", "/v1/companies/{id}"): get_company,
    ("POST", "/v1/web-visits"): search_web_visits,
    ("GET", "/v1/web-visits/companies"): retrieve_visitor_companies,
}
