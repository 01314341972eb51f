"""The types of filters that are written as dicts, so that type checkers find misspelled keys.

Each one has the keys of the Struct with the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Required, TypedDict

from leadfeeder_async.models.search_filters import Classification, GeoCircle


class GeoCircleDict(TypedDict):
    """The keys of :class:`GeoCircle`."""

    latitude: float
    longitude: float
    distance: float


class SearchLocationDict(TypedDict, total=False):
    """The keys of :class:`SearchLocation`."""

    street: str
    postal_code: str
    city: str
    country_code: str
    region_code: str
    geo: GeoCircle | GeoCircleDict


class IndustryFilterDict(TypedDict, total=False):
    """The keys of :class:`IndustryFilter`."""

    codes: Required[Sequence[str]]
    classification: Classification


class RevenueRangeDict(TypedDict, total=False):
    """The keys of :class:`RevenueRange`."""

    min: int
    max: int


class CompanySearchFiltersDict(TypedDict, total=False):
    """The keys of :class:`CompanySearchFilters`."""

    has_phone: bool
    has_email: bool
    has_social_media_profiles: bool
    do_not_contact: bool
    has_financials_revenue: bool
    has_financials_earnings: bool
    has_financials_net_worth: bool
    has_ip_addresses: bool


DateRangeDict = TypedDict("DateRangeDict", {"from": date | str, "to": date | str}, total=False)
"""The keys of :class:`DateRange`, which are the API's."""


class CompanyMatchInputDict(TypedDict, total=False):
    """The keys of :class:`CompanyMatchInput`."""

    company_name: str
    url: str
    email: str
    phone: str
    vat_id: str
    register_id: str
    register_location: str
    street: str
    street_name: str
    street_number: str
    postal_code: str
    city: str
    country: str
    country_code: str


class WebVisitFiltersDict(TypedDict, total=False):
    """The keys of :class:`WebVisitFilters`."""

    company_id: str
    location_country_codes: Sequence[str]
    location_cities: Sequence[str]
