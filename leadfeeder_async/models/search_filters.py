"""The filters and request bodies of searches. They reject unknown keys, which the API would ignore."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec

from leadfeeder_async.models.base import Model

T = TypeVar("T")

NonEmpty: TypeAlias = Annotated[tuple[T, ...], msgspec.Meta(min_length=1)]
"""A list of at least one item."""

Text: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\S")]
"""A string that is not empty. An empty condition would match everything."""

CountryCode: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}\Z")]
"""Two capital letters (ISO 3166-1 alpha-2). A search for anything else would match nothing."""

EmployeeRange: TypeAlias = Literal["1-10", "11-100", "101-500", "501-1.000", "1.001-5.000", "5.001-10.000", "10.000+"]
"""The employee ranges that a company search accepts. Dots separate thousands."""

Classification: TypeAlias = Literal["internal", "wz", "nace"]
"""The classifications of industries."""


class GeoCircle(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A circle on the map."""

    latitude: float
    longitude: float
    distance: Annotated[float, msgspec.Meta(ge=0, le=500)]
    """The radius in kilometers, 0 to 500."""


class SearchLocation(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A location to search in (contract: ``SearchLocationV1``)."""

    street: Text | None = None
    postal_code: Text | None = None
    city: Text | None = None
    country_code: CountryCode | None = None
    """ISO 3166-1 alpha-2, such as ``DE``."""
    region_code: Text | None = None
    geo: GeoCircle | None = None


class IndustryFilter(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The industries to search in, by code."""

    codes: NonEmpty[Text]
    """One or more codes of the classification."""
    classification: Classification | None = None
    """None means ``internal``, the codes of ``lf.reference.industries()``."""


class RevenueRange(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A range of yearly revenue. One of the two bounds can be left out."""

    min: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max: Annotated[int, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise ValueError("`min` or `max` is required")


class CompanySearchFilters(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Conditions of a company search that are true or false. None means any. All must match."""

    has_phone: bool | None = None
    has_email: bool | None = None
    has_social_media_profiles: bool | None = None
    do_not_contact: bool | None = None
    has_financials_revenue: bool | None = None
    has_financials_earnings: bool | None = None
    has_financials_net_worth: bool | None = None
    has_ip_addresses: bool | None = None


SignalCategory: TypeAlias = Literal[
    "business_expansion",
    "competitive_landscape",
    "event_participation",
    "industry_recognition",
    "leadership_changes",
    "corporate_challenges",
    "mergers_and_acquisitions",
    "customer_acquisition",
    "investment_activity",
    "product_and_service_development",
    "partnerships_and_collaborations",
    "financial_struggles",
    "job_ads",
    "register_updates",
    "regulatory_compliance_updates",
]
"""The categories of signals (contract: ``SignalCategory``)."""


class DateRange(
    Model,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={"start": "from", "end": "to"},
):
    """An inclusive range of dates. Either end can be left out. The API calls them ``from`` and ``to``."""

    start: date | None = None
    end: date | None = None

    def __post_init__(self) -> None:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"from={self.start} is after to={self.end}")


class CompanyMatchInput(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The known facts about a company to match (contract: ``CompanyMatchInputV1``).

    One of ``company_name``, ``url``, ``vat_id`` and ``register_id`` is required.
    """

    company_name: str | None = None
    url: str | None = None
    email: str | None = None
    phone: str | None = None
    vat_id: str | None = None
    register_id: str | None = None
    register_location: str | None = None
    street: str | None = None
    street_name: str | None = None
    street_number: str | None = None
    postal_code: str | None = None
    city: str | None = None
    country: str | None = None
    country_code: str | None = None

    def __post_init__(self) -> None:
        if not (self.company_name or self.url or self.vat_id or self.register_id):
            raise ValueError("`company_name`, `url`, `vat_id` or `register_id` is required")


class WebVisitFilters(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The filters of a visit search, in addition to its dates."""

    company_id: Text | None = None
    location_country_codes: NonEmpty[CountryCode] | None = None
    """ISO 3166-1 alpha-2, such as ``DE``."""
    location_cities: NonEmpty[Text] | None = None


class CompanySearchRequest(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The body of a company search (contract: ``CompanySearchRequestV1``). At least one condition is required."""

    search_terms: NonEmpty[Text] | None = None
    locations: NonEmpty[SearchLocation] | None = None
    industries: IndustryFilter | None = None
    employee_ranges: NonEmpty[EmployeeRange] | None = None
    revenue: RevenueRange | None = None
    icp_ids: NonEmpty[Text] | None = None
    filters: CompanySearchFilters | None = None


class CompanyMatchRequest(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that matches 1 to 200 companies (contract: ``CompanyMatchRequestV1``)."""

    companies: Annotated[tuple[CompanyMatchInput, ...], msgspec.Meta(min_length=1, max_length=200)]


class SignalSearchRequest(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The body of a signal search (contract: ``SignalSearchRequestV1``)."""

    company_ids: NonEmpty[Text]
    categories: NonEmpty[SignalCategory] | None = None
    event_date: DateRange | None = None
    publication_date: DateRange | None = None


class ContactSearchRequest(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The body of a contact search (contract: ``ContactSearchRequestV1``). At least one condition is required."""

    search_terms: NonEmpty[Text] | None = None
    emails: NonEmpty[Text] | None = None
    company_ids: NonEmpty[Text] | None = None
    positions: NonEmpty[Text] | None = None
    departments: NonEmpty[Text] | None = None
    hierarchy_levels: NonEmpty[Text] | None = None
    affiliation: Text | None = None
    buyer_persona_ids: NonEmpty[Text] | None = None
    filters: Annotated[Mapping[str, object], msgspec.Meta(min_length=1)] | None = None


class WebVisitSearchRequest(Model, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The body of a visit search (contract: ``WebVisitSearchRequestV1``)."""

    start_date: date
    end_date: date
    filters: WebVisitFilters | None = None
