"""The search for companies and its conditions."""

from __future__ import annotations

from collections.abc import Callable
from math import asin, cos, inf, radians, sin, sqrt
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

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


class CircleCondition(msgspec.Struct, frozen=True):
    """A circle on the map, with a radius in kilometers."""

    latitude: float | UnsetType = UNSET
    longitude: float | UnsetType = UNSET
    distance: Annotated[float, msgspec.Meta(ge=0, le=500)] = 0


class LocationCondition(msgspec.Struct, frozen=True):
    """A location to search in."""

    street: str | UnsetType = UNSET
    postal_code: str | UnsetType = UNSET
    city: str | UnsetType = UNSET
    country_code: str | UnsetType = UNSET
    region_code: str | UnsetType = UNSET
    geo: CircleCondition | UnsetType = UNSET


class IndustryCondition(msgspec.Struct, frozen=True):
    """The industries to search in, by code."""

    codes: NonEmpty[str]
    classification: Literal["internal", "wz", "nace"] = "internal"


class RevenueCondition(msgspec.Struct, frozen=True):
    """The lowest and highest revenue in euros."""

    min: NotNegative | UnsetType = UNSET
    max: NotNegative | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.min is UNSET and self.max is UNSET:
            raise ValueError("revenue takes min, max or both")


class CompanyFlags(msgspec.Struct, frozen=True):
    """Conditions that are true or false."""

    has_phone: bool | UnsetType = UNSET
    has_email: bool | UnsetType = UNSET
    has_social_media_profiles: bool | UnsetType = UNSET
    do_not_contact: bool | UnsetType = UNSET
    has_financials_revenue: bool | UnsetType = UNSET
    has_financials_earnings: bool | UnsetType = UNSET
    has_financials_net_worth: bool | UnsetType = UNSET
    has_ip_addresses: bool | UnsetType = UNSET


class CompanySearch(msgspec.Struct, frozen=True):
    """The body of a company search."""

    search_terms: NonEmpty[str] | UnsetType = UNSET
    locations: NonEmpty[LocationCondition] | UnsetType = UNSET
    industries: IndustryCondition | UnsetType = UNSET
    employee_ranges: NonEmpty[EmployeeRange] | UnsetType = UNSET
    revenue: RevenueCondition | UnsetType = UNSET
    icp_ids: NonEmpty[str] | UnsetType = UNSET
    filters: CompanyFlags | UnsetType = UNSET


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
    return (
        (not search.search_terms or _contains(company, search.search_terms))
        and (not search.locations or any(_is_in(company, location) for location in search.locations))
        and (isinstance(search.industries, UnsetType) or _has_industry(company, search.industries))
        and (not search.employee_ranges or company["employee_range"] in search.employee_ranges)
        and (isinstance(search.revenue, UnsetType) or _has_revenue(company, search.revenue))
        and (not icp_ids or any(icp["id"] in icp_ids for icp in matching_icps(company)))
        and (isinstance(search.filters, UnsetType) or _has_flags(company, search.filters))
    )


def _contains(company: Json, search_terms: list[str]) -> bool:
    text = f"{company['name']} {company['description']} {company['url']}".lower()
    return any(term.lower() in text for term in search_terms)


class _Address(msgspec.Struct, frozen=True):
    street_address: str | None = None
    postal_code: str | None = None
    city: str | None = None
    country_code: str | None = None


class _MoneyFigure(msgspec.Struct, frozen=True):
    value_eur: float


_CITY_NUMBERS = {city: number for number, (city, *_) in enumerate(LOCATIONS)}


def _is_in(company: Json, location: LocationCondition) -> bool:
    address = msgspec.convert(company["address"], _Address)
    number = _CITY_NUMBERS.get(address.city or "")
    region_codes = set[str]() if number is None else {REGION_CODES[number], _iso_region_code(number)}
    return (
        (isinstance(location.street, UnsetType) or location.street.lower() in (address.street_address or "").lower())
        and location.postal_code in {UNSET, address.postal_code}
        and location.city in {UNSET, address.city}
        and location.country_code in {UNSET, address.country_code}
        and location.region_code in {UNSET, *region_codes}
        and (
            isinstance(location.geo, UnsetType)
            or (number is not None and _is_in_circle(COORDINATES[number], location.geo))
        )
    )


def _iso_region_code(number: int) -> str:
    return f"{LOCATIONS[number][3]}-{REGION_CODES[number]}"


def _is_in_circle(point: tuple[float, float], circle: CircleCondition) -> bool:
    if isinstance(circle.latitude, UnsetType) or isinstance(circle.longitude, UnsetType):
        return True
    latitude, longitude = map(radians, point)
    center_latitude, center_longitude = radians(circle.latitude), radians(circle.longitude)
    haversine = (
        sin((latitude - center_latitude) / 2) ** 2
        + cos(latitude) * cos(center_latitude) * sin((longitude - center_longitude) / 2) ** 2
    )
    return 2 * 6_371 * asin(sqrt(min(1.0, haversine))) <= circle.distance


def _has_industry(company: Json, industries: IndustryCondition) -> bool:
    known = msgspec.convert(company["industries"], dict[str, list[dict[str, str]]])
    classification = "industry" if industries.classification == "internal" else industries.classification
    return any(industry["code"] in industries.codes for industry in known.get(classification, ()))


def _has_revenue(company: Json, revenue: RevenueCondition) -> bool:
    figure = msgspec.convert(company["revenue"], _MoneyFigure | None)
    most = inf if isinstance(revenue.max, UnsetType) else revenue.max
    return figure is not None and (revenue.min or 0) <= figure.value_eur <= most


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
    return all(wanted[name] in {UNSET, is_met(company)} for name, is_met in _FLAGS.items())
