"""Search results, matches, signals, financial reports and IP addresses of companies."""

from __future__ import annotations

from datetime import date

from leadfeeder_async.models.base import Model, Record
from leadfeeder_async.models.places import IpAddressExtended, Location
from leadfeeder_async.models.records import Company
from leadfeeder_async.models.shortcuts import CompanyShortcuts, LocationShortcuts
from leadfeeder_async.models.values import Address, CompanyMeta, CompanyRegister, Industries, MoneyFigure


class CompanySummaryAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The fields of a company that searches return free of charge. Each of them can be missing."""

    name: str | None = None
    role: str | None = None
    register: CompanyRegister | None = None
    meta: CompanyMeta | None = None
    url: str | None = None
    """The website."""
    employee_range: str | int | None = None
    """The number of employees as a range. The API formats it in several ways, such as ``101-500`` or ``501-1.000``."""
    employee_count: int | None = None
    industries: Industries | None = None
    address: Address | None = None
    revenue: MoneyFigure | None = None


class CompanySummary(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company in a search result (contract: ``CompanySummaryV1``, ``MaskedCompanySummaryV1``)."""

    id: str
    type: str = "company_summary"
    attributes: CompanySummaryAttributes = CompanySummaryAttributes()

    @property
    def name(self) -> str | None:
        """The name of the company. None if the search result does not include it."""
        return self.attributes.name

    @property
    def url(self) -> str | None:
        """The website of the company. None if the search result does not include it."""
        return self.attributes.url


class CompanyLocationRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The company and the location of a row."""

    company: Company | None = None
    location: Location | None = None


class CompanyLocation(CompanyShortcuts, LocationShortcuts, Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A visiting company at one of its locations (contract: ``CompanyLocationV1``).

    A company that visited from several locations has one row per location.
    """

    id: str
    type: str = "company_location"
    attributes: dict[str, object] | None = None
    relationships: CompanyLocationRelationships = CompanyLocationRelationships()

    @property
    def company(self) -> Company | None:
        """The company. A stub unless ``include=["company"]`` was passed."""
        return self.relationships.company

    @property
    def location(self) -> Location | None:
        """The location that the company visited from."""
        return self.relationships.location


class SignalAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The category, dates and text of a signal. Each field can be missing."""

    category: str | None = None
    event_date: date | None = None
    publication_date: date | None = None
    title: str | None = None
    summary: str | None = None
    url: str | None = None


class SignalRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The company of a signal."""

    company: Company | None = None


class Signal(CompanyShortcuts, Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """News about a company (contract: ``SignalV1``)."""

    id: str
    type: str = "signal"
    attributes: SignalAttributes = SignalAttributes()
    relationships: SignalRelationships = SignalRelationships()

    @property
    def company(self) -> Company | None:
        """The company that the signal is about."""
        return self.relationships.company

    @property
    def title(self) -> str | None:
        """The headline of the signal."""
        return self.attributes.title


class CompanyFinancialsAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The figures of a company in one year. Each field can be missing."""

    year: int | None = None
    currency: str | None = None
    revenue: MoneyFigure | float | None = None
    """A figure with its own currency and year, or a number in ``currency``. The same is true of the next two fields."""
    earnings: MoneyFigure | float | None = None
    net_worth: MoneyFigure | float | None = None
    employee_count: int | None = None


class CompanyFinancials(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A financial report of one year (contract: ``CompanyFinancialsV1``)."""

    id: str
    type: str = "company_financials"
    attributes: CompanyFinancialsAttributes = CompanyFinancialsAttributes()


class CompanyMatchAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The score of a match."""

    match_score: float | None = None
    """0 to 1."""


class CompanyMatchRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The company of a match."""

    company_summary: CompanySummary | None = None


class CompanyMatch(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A candidate for a company to match (contract: ``CompanyMatchV1``)."""

    id: str
    type: str = "company_match"
    attributes: CompanyMatchAttributes = CompanyMatchAttributes()
    relationships: CompanyMatchRelationships = CompanyMatchRelationships()

    @property
    def score(self) -> float | None:
        """The score of the match, 0 to 1."""
        return self.attributes.match_score

    @property
    def company(self) -> CompanySummary | None:
        """The company that matches."""
        return self.relationships.company_summary


class CompanyIpRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company and its IP addresses."""

    company: Company | None = None
    ip_addresses: tuple[IpAddressExtended, ...] | None = None


class CompanyIp(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The IP addresses of a company (contract: ``CompanyIpV1``)."""

    id: str
    type: str = "company_ip"
    attributes: dict[str, object] | None = None
    relationships: CompanyIpRelationships = CompanyIpRelationships()

    @property
    def ip_addresses(self) -> tuple[IpAddressExtended, ...]:
        """The IP addresses, with their locations and networks."""
        return self.relationships.ip_addresses or ()
