"""Companies: whole, in search results, and what is known around them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated

import msgspec

from leadfeeder_async.sandbox.query import Json, OperationResult, Query, Route, by_cursor
from leadfeeder_async.sandbox.server_state import ApiError
from leadfeeder_async.sandbox.world import FIRST_COMPANY, SIGNAL_CATEGORIES, hash_mix, host_of, ip_of, place

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


def get_company(query: Query) -> OperationResult:
    """One company, whole."""
    query.includes(_COMPANY_RELATIONS)
    company_id = query.state.world.current_id(_known(query, query.ids["id"]))
    charged = query.state.charge(query.the_account(), [company_id])
    return OperationResult(company(query, company_id), charged=charged)


def retrieve_companies(query: Query) -> OperationResult:
    """Several companies, whole, each under its current id; unknown ids are left out."""
    query.includes(_COMPANY_RELATIONS)
    world, refused = query.state.world, query.state.rejected_ids
    for one in query.ids_of("ids"):
        if one in refused:
            raise ApiError(refused[one], "invalid_request", f"{one} is not taken")
    known = list(dict.fromkeys(world.current_id(one) for one in query.ids_of("ids") if world.has_company(one)))
    charged = query.state.charge(query.the_account(), known)
    return OperationResult([company(query, one) for one in known], charged=charged)


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


def search_companies(query: Query) -> OperationResult:
    """Company summaries that fit every condition."""
    if not query.body:
        raise ApiError(400, "invalid_request", "At least one criterion is needed")
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


class MatchInput(msgspec.Struct, frozen=True):
    """What is known of a company to be matched."""

    company_name: str | None = None
    url: str | None = None
    vat_id: str | None = None
    register_id: str | None = None

    def __post_init__(self) -> None:
        if not (self.company_name or self.url or self.vat_id or self.register_id):
            raise ValueError("company_name, url, vat_id or register_id is needed")


class Match(msgspec.Struct, frozen=True):
    """The body of a match."""

    companies: Annotated[list[MatchInput], msgspec.Meta(min_length=1, max_length=200)]


def match_companies(query: Query) -> OperationResult:
    """The companies that each input may mean, best first."""
    most = query.number("max_results_per_company", 5, 20)
    found = [_matches(query, one)[:most] for one in query.read(Match).companies]
    return OperationResult(found, charged=0, counts={"num_results": sum(map(len, found))})


def _matches(query: Query, wanted: MatchInput) -> list[Json]:
    known, scores = query.state.world.companies_by, dict[str, float]()
    asked = (wanted.company_name or "").lower().strip()
    partly = (one for name, ids in known["name"].items() if asked and asked in name for one in ids)
    scores.update(dict.fromkeys(partly, 0.6))
    scores.update(dict.fromkeys(known["name"].get(asked, ()), 0.95))
    scores.update(dict.fromkeys(known["host"].get(host_of(wanted.url or ""), ()), 0.97))
    scores.update(dict.fromkeys(known["vat_id"].get((wanted.vat_id or "").lower(), ()), 1.0))
    best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
    return [_match(query, one, score) for one, score in best[:20]]


def _match(query: Query, company_id: str, score: float) -> Json:
    relations = {"company_summary": _company_summary(query, company_id)}
    attributes = {"match_score": score}
    return {"id": company_id, "type": "company_match", "attributes": attributes, "relationships": relations}


def get_company_financials(query: Query) -> OperationResult:
    """The reports of two years."""
    company_id = _known(query, query.ids["id"])
    charged = query.state.charge(query.the_account(), [company_id])
    return OperationResult([_financials(query, company_id, year) for year in (2025, 2024)], charged=charged)


def _financials(query: Query, company_id: str, year: int) -> Json:
    whole = query.state.world.company(company_id)
    employees = msgspec.convert(whole["employee_count"], int)
    amount = {"value": float(employees * 120_000 - 9_000 * (2025 - year)), "currency": "EUR"}
    attributes: Json = {
        "year": year,
        "currency": "EUR",
        "revenue": amount,
        "earnings": None,
        "net_worth": None,
        "employee_count": employees,
    }
    return {"id": f"fin-{company_id}-{year}", "type": "company_financials", "attributes": attributes}


class SignalDates(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """Days from one to another."""

    start: date = date.min
    end: date = date.max

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise ValueError("from is after to")


class SignalSearch(msgspec.Struct, frozen=True):
    """The body of a signal search."""

    company_ids: Annotated[list[str], msgspec.Meta(min_length=1)]
    categories: list[str] = []
    event_date: SignalDates = SignalDates()
    publication_date: SignalDates = SignalDates()

    def __post_init__(self) -> None:
        if not set(self.categories) <= set(SIGNAL_CATEGORIES):
            raise ValueError("categories holds an unknown one")


def search_company_signals(query: Query) -> OperationResult:
    """The news about some companies, a page of them; charges for the companies on the page."""
    wanted, account = query.read(SignalSearch), query.the_account()
    known = [one for one in dict.fromkeys(wanted.company_ids) if query.state.world.has_company(one)]
    rows = [row for one in known for row in _signals(query, one, wanted)]
    reply = by_cursor(query, rows, lambda row: row[1])
    shown = {company_id for company_id, signal in rows if signal in msgspec.convert(reply.data, list[object])}
    return msgspec.structs.replace(reply, charged=query.state.charge(account, sorted(shown)))


def _signals(query: Query, company_id: str, wanted: SignalSearch) -> Iterable[tuple[str, Json]]:
    world = query.state.world
    for number in range(hash_mix(world.seed, 8, int(company_id)) % 4):
        bits = hash_mix(world.seed, 9, int(company_id), number)
        category = SIGNAL_CATEGORIES[bits % len(SIGNAL_CATEGORIES)]
        event = world.end_date - timedelta(bits % 300 + 3)
        published = event + timedelta(3)
        if (
            (not wanted.categories or category in wanted.categories)
            and wanted.event_date.start <= event <= wanted.event_date.end
            and wanted.publication_date.start <= published <= wanted.publication_date.end
        ):
            attributes: Json = {
                "category": category,
                "event_date": str(event),
                "publication_date": str(published),
                "title": f"News {number + 1}",
                "summary": f"Something about {category.replace('_', ' ')}.",
                "url": f"https://news.test/{company_id}/{number}",
            }
            stub = {"company": {"id": company_id, "type": "company"}}
            signal_id = f"sig-{company_id}-{number}"
            yield company_id, {"id": signal_id, "type": "signal", "attributes": attributes, "relationships": stub}


def retrieve_company_ips(query: Query) -> OperationResult:
    """The addresses of some companies; unknown ids are left out."""
    whole = "company" in query.includes({"company"})
    most = query.number("max_ip_addresses", 2, 10**6)
    known = [one for one in query.ids_of("company_ids") if query.state.world.has_company(one)]
    charged = query.state.charge(query.the_account(), known)
    return OperationResult([_company_ips(query, one, most, whole=whole) for one in known], charged=charged)


def _company_ips(query: Query, company_id: str, most: int, *, whole: bool) -> Json:
    addresses = [ip_of(company_id, number) for number in range(min(most, 2))]
    relations: Json = {
        "company": company(query, company_id) if whole else {"id": company_id, "type": "company"},
        "ip_addresses": [_address(query, company_id, one) for one in addresses],
    }
    return {"id": company_id, "type": "company_ip", "attributes": {}, "relationships": relations}


def _address(query: Query, company_id: str, ip: str) -> Json:
    attributes = {"ip": ip, "confidence_score": "high"}
    relations = where(query.state.world.place_of(company_id))
    return {"id": ip, "type": "ip_address", "attributes": attributes, "relationships": relations}


def where(number: int) -> Json:
    """Return the place and network of an address."""
    shown = {key: value for key, value in place(number).items() if key != "postal_code"}
    network = {"name": "Example Net", "asn": 64_500 + number, "cidr": "198.18.0.0/15"}
    return {
        "location": {"id": f"iploc-{number}", "type": "ip_location", "attributes": shown},
        "network": {"id": f"AS{64_500 + number}", "type": "network", "attributes": network},
    }


def _known(query: Query, company_id: str) -> str:
    if not query.state.world.has_company(company_id):
        raise ApiError(404, "entity_not_found", "No such company")
    return company_id


def company(query: Query, company_id: str) -> Json:
    """Return one company, whole, with its tags and lists."""
    workspace = query.state.records
    relations: Json = {
        "tags": [workspace.tags.show(one) for one in workspace.tags_of(company_id)],
        "lists": [workspace.lists.show(one) for one in workspace.lists_of("company", company_id)],
        "icps": [],
        "crm_connections": [],
        "crm_suggestions": [],
    }
    attributes = query.state.world.company(company_id)
    return {"id": company_id, "type": "company", "attributes": attributes, "relationships": relations}


def _company_summary(query: Query, company_id: str) -> Json:
    shown = ("name", "role", "register", "meta", "url", "employee_range", "employee_count", "industries", "address")
    whole = query.state.world.company(company_id)
    return {"id": company_id, "type": "company_summary", "attributes": {key: whole[key] for key in shown}}


ROUTES = (
    Route("GET", "/v1/companies", retrieve_companies, ("ids", "include")),
    Route("GET", "/v1/companies/ips", retrieve_company_ips, ("company_ids", "max_ip_addresses", "include")),
    Route("POST", "/v1/companies/search", search_companies, paging="cursor"),
    Route("POST", "/v1/companies/match", match_companies, ("max_results_per_company",)),
    Route("POST", "/v1/companies/signals", search_company_signals, paging="cursor"),
    Route("GET", "/v1/companies/{id}", get_company, ("include",)),
    Route("GET", "/v1/companies/{id}/financials", get_company_financials),
)
