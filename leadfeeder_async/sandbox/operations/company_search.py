"""The search for companies and its conditions."""

from __future__ import annotations

from collections.abc import Callable
from math import asin, cos, radians, sin, sqrt
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec

from leadfeeder_async.sandbox.operations.company_records import company_summary
from leadfeeder_async.sandbox.operations.profiles import matching_icps, require_icps
from leadfeeder_async.sandbox.pages import cursor_page
from leadfeeder_async.sandbox.query import OperationResult, Query
from leadfeeder_async.sandbox.sample_data import COORDINATES, LOCATIONS, REGION_CODES, Json
from leadfeeder_async.sandbox.server_state import ApiError

T = TypeVar("T")
NonEmpty: TypeAlias = Annotated[list[T], msgspec.Meta(min_length=1)]
NotNegative: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
EmployeeRange: TypeAlias = Literal["1-10", "11-100", "101-500", "501-1.000", "1.001-5.000", "5.001-10.000", "10.000+"]


class GeoCircle(msgspec.Struct, frozen=True):
    """A circle on the map, with a radius in kilometers."""

    latitude: float | None = None
    longitude: float | None = None
    distance: Annotated[float, msgspec.Meta(ge=0, le=500)] = 0


class SearchLocation(msgspec.Struct, frozen=True):
    """A location to search in."""

    street: str | None = None
    postal_code: str | None = None
    city: str | None = None
    country_code: str | None = None
    region_code: str | None = None
    geo: GeoCircle | None = None


class Industries(msgspec.Struct, frozen=True):
    """The industries to search in, by code."""

    codes: NonEmpty[str]
    classification: Literal["internal", "wz", "nace"] = "internal"


class Revenue(msgspec.Struct, frozen=True):
    """The lowest and highest revenue in euros."""

    min: NotNegative | None = None
    max: NotNegative | None = None

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise ValueError("revenue takes min, max or both")


class CompanyFlags(msgspec.Struct, frozen=True):
    """Conditions that are true or false."""

    has_phone: bool | None = None
    has_email: bool | None = None
    has_social_media_profiles: bool | None = None
    do_not_contact: bool | None = None
    has_financials_revenue: bool | None = None
    has_financials_earnings: bool | None = None
    has_financials_net_worth: bool | None = None
    has_ip_addresses: bool | None = None


class CompanySearch(msgspec.Struct, frozen=True):
    """The body of a company search."""

    search_terms: NonEmpty[str] | None = None
    locations: NonEmpty[SearchLocation] | None = None
    industries: Industries | None = None
    employee_ranges: NonEmpty[EmployeeRange] | None = None
    revenue: Revenue | None = None
    icp_ids: NonEmpty[str] | None = None
    filters: CompanyFlags | None = None


def search_companies(query: Query) -> OperationResult:
    """Return summaries of the companies that meet all conditions."""
    search, world = query.decode_body(CompanySearch), query.state.world
    if not query.body:
        raise ApiError(400, "invalid_request", "At least one criterion is needed")
    if query.body.get("filters") == {}:
        raise ApiError(400, "invalid_request", "filters must not be empty")
    icp_ids = require_icps(query, search.icp_ids or [])
    matching_ids = [
        company_id for company_id in world.company_ids() if _matches(world.company(company_id), search, icp_ids)
    ]
    return cursor_page(query, matching_ids, lambda company_id: company_summary(query, company_id))


def _matches(company: Json, search: CompanySearch, icp_ids: set[str]) -> bool:
    text = f"{company['name']} {company['description']} {company['url']}".lower()
    return (
        (not search.search_terms or any(term.lower() in text for term in search.search_terms))
        and (not search.locations or any(_is_in(company, location) for location in search.locations))
        and (search.industries is None or _has_industry(company, search.industries))
        and (not search.employee_ranges or company["employee_range"] in search.employee_ranges)
        and (search.revenue is None or _has_revenue(company, search.revenue))
        and (not icp_ids or any(icp["id"] in icp_ids for icp in matching_icps(company)))
        and (search.filters is None or _has_flags(company, search.filters))
    )


class _Address(msgspec.Struct, frozen=True):
    street_address: str | None = None
    postal_code: str | None = None
    city: str | None = None
    country_code: str | None = None


_CITY_NUMBERS = {city: number for number, (city, *_) in enumerate(LOCATIONS)}


def _is_in(company: Json, location: SearchLocation) -> bool:
    if not isinstance(company["address"], dict):
        return False
    address = msgspec.convert(company["address"], _Address)
    number = _CITY_NUMBERS.get(address.city or "")
    region_codes = set[str | None]() if number is None else {REGION_CODES[number], _iso_region_code(number)}
    return (
        (location.street is None or location.street.lower() in (address.street_address or "").lower())
        and location.postal_code in {None, address.postal_code}
        and location.city in {None, address.city}
        and location.country_code in {None, address.country_code}
        and location.region_code in {None, *region_codes}
        and (location.geo is None or (number is not None and _is_in_circle(COORDINATES[number], location.geo)))
    )


def _iso_region_code(number: int) -> str:
    return f"{LOCATIONS[number][3]}-{REGION_CODES[number]}"


def _is_in_circle(point: tuple[float, float], circle: GeoCircle) -> bool:
    if circle.latitude is None or circle.longitude is None:
        return True
    latitude, longitude = map(radians, point)
    center_latitude, center_longitude = radians(circle.latitude), radians(circle.longitude)
    haversine = (
        sin((latitude - center_latitude) / 2) ** 2
        + cos(latitude) * cos(center_latitude) * sin((longitude - center_longitude) / 2) ** 2
    )
    return 2 * 6_371 * asin(sqrt(min(1.0, haversine))) <= circle.distance


def _has_industry(company: Json, industries: Industries) -> bool:
    known = msgspec.convert(company["industries"], dict[str, list[dict[str, str]]])
    classification = "industry" if industries.classification == "internal" else industries.classification
    return any(industry["code"] in industries.codes for industry in known.get(classification, ()))


def _has_revenue(company: Json, revenue: Revenue) -> bool:
    figure = company["revenue"]
    if not isinstance(figure, dict):
        return False
    value = msgspec.convert(figure, dict[str, object]).get("value_eur")
    return isinstance(value, (int, float)) and (revenue.min or 0) <= value <= (
        value if revenue.max is None else revenue.max
    )


class _ContactMeta(msgspec.Struct, frozen=True):
    has_phones: bool = False
    has_mail: bool = False
    do_not_contact: bool = False


def _has_social_media(company: Json) -> bool:
    profiles = company["social_media_profiles"]
    return isinstance(profiles, dict) and any(msgspec.convert(profiles, dict[str, object]).values())


_FLAGS: dict[str, Callable[[Json], bool]] = {
    "has_phone": lambda company: _meta(company).has_phones,
    "has_email": lambda company: _meta(company).has_mail,
    "has_social_media_profiles": _has_social_media,
    "do_not_contact": lambda company: _meta(company).do_not_contact,
    "has_financials_revenue": lambda company: company["revenue"] is not None,
    "has_financials_earnings": lambda company: company["earnings"] is not None,
    "has_financials_net_worth": lambda company: company["net_worth"] is not None,
    "has_ip_addresses": lambda _: True,
}


def _meta(company: Json) -> _ContactMeta:
    return msgspec.convert(company["meta"], _ContactMeta)


def _has_flags(company: Json, flags: CompanyFlags) -> bool:
    wanted = msgspec.structs.asdict(flags)
    return all(wanted[name] in {None, is_met(company)} for name, is_met in _FLAGS.items())
