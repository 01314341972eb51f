"""Companies and web visits. Both are defined here because each contains the other."""

from __future__ import annotations

from datetime import UTC, datetime

from leadfeeder_async.models.base import Model, Record
from leadfeeder_async.models.crm import CRMConnection, CRMGroupConnection, CRMSuggestion
from leadfeeder_async.models.places import VisitLocation
from leadfeeder_async.models.profiles import Icp
from leadfeeder_async.models.shortcuts import CompanyShortcuts, LocationShortcuts
from leadfeeder_async.models.tags_and_lists import List, Tag
from leadfeeder_async.models.values import (
    Address,
    CompanyMeta,
    CompanyRegister,
    Engagement,
    Industries,
    Intent,
    MoneyFigure,
    Phone,
    SocialMediaProfiles,
    VisitIdentifiers,
    Visitor,
    WebEngagement,
)


class CompanyAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The fields of a company. Each of them can be missing."""

    name: str | None = None
    alternative_names: tuple[str, ...] | None = None
    url: str | None = None
    """The website."""
    alternative_urls: tuple[str, ...] | None = None
    logo_url: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] | str | None = None
    industries: Industries | None = None
    employee_count: int | None = None
    employee_range: str | int | None = None
    """The number of employees as a range. The API formats it in several ways, such as ``101-500`` or ``501-1.000``."""
    address: Address | None = None
    phones: tuple[Phone, ...] | None = None
    social_media_profiles: SocialMediaProfiles | None = None
    revenue: MoneyFigure | None = None
    earnings: MoneyFigure | None = None
    net_worth: MoneyFigure | None = None
    founded_year: int | None = None
    legal_form: str | None = None
    vat_id: str | None = None
    register: CompanyRegister | None = None
    role: str | None = None
    intent: Intent | None = None
    web_engagement: WebEngagement | None = None
    meta: CompanyMeta | None = None


class CompanyRelationships(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """Records related to a company. Each is a stub unless ``include`` names its relationship."""

    group_company: Company | None = None
    """The parent company of the group."""
    tags: tuple[Tag, ...] | None = None
    lists: tuple[List, ...] | None = None
    web_visits: tuple[WebVisit, ...] | None = None
    icps: tuple[Icp, ...] | None = None
    """The ideal customer profiles that the company matches."""
    crm_connections: tuple[CRMConnection, ...] | None = None
    crm_suggestions: tuple[CRMSuggestion, ...] | None = None
    crm_group_connections: tuple[CRMGroupConnection, ...] | None = None


class Company(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company (contract: ``CompanyV1``). A stub has only ``id`` and ``type``."""

    id: str
    type: str = "company"
    attributes: CompanyAttributes = CompanyAttributes()
    relationships: CompanyRelationships = CompanyRelationships()

    @property
    def name(self) -> str | None:
        """The name of the company. None on a stub."""
        return self.attributes.name

    @property
    def url(self) -> str | None:
        """The website of the company. None on a stub."""
        return self.attributes.url

    @property
    def country(self) -> str | None:
        """The country of the company's address. None on a stub."""
        return None if self.attributes.address is None else self.attributes.address.country

    @property
    def country_code(self) -> str | None:
        """The country of the company's address as ISO 3166-1 alpha-2, such as ``DE``. None on a stub."""
        return None if self.attributes.address is None else self.attributes.address.country_code

    @property
    def city(self) -> str | None:
        """The city of the company's address. None on a stub."""
        return None if self.attributes.address is None else self.attributes.address.city

    @property
    def industry(self) -> str | None:
        """The first industry in Leadfeeder's own classification. None on a stub."""
        industries = self.attributes.industries.industry if self.attributes.industries else None
        return industries[0].name if industries else None

    @property
    def employee_range(self) -> str | None:
        """The number of employees as a range, such as ``101-500``. None on a stub."""
        found = self.attributes.employee_range
        return None if found is None else str(found)

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of the company. They have names only with ``include=["tags"]``."""
        return self.relationships.tags or ()

    @property
    def lists(self) -> tuple[List, ...]:
        """The lists that contain the company. They have names only with ``include=["lists"]``."""
        return self.relationships.lists or ()


class WebVisitAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The time, source and engagements of a visit. Each field can be missing."""

    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    keyword: str | None = None
    referring_url: str | None = None
    landing_page_path: str | None = None
    device_type: str | None = None
    visit_length: float | None = None
    """Seconds."""
    page_depth: int | None = None
    """The number of pages visited."""
    started_at: datetime | None = None
    """The start time as the API sent it. Prefer ``WebVisit.started_at``, which always has a time zone."""
    identifiers: VisitIdentifiers | None = None
    visitor: Visitor | None = None
    engagements: tuple[Engagement, ...] | None = None
    """The steps of the visit."""


class WebVisitRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The company and location of a visit."""

    company: Company | None = None
    location: VisitLocation | None = None


class WebVisit(
    CompanyShortcuts, LocationShortcuts, Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True
):
    """A visit of a company to the account's website (contract: ``WebVisitV1``)."""

    id: str
    type: str = "web_visit"
    attributes: WebVisitAttributes = WebVisitAttributes()
    relationships: WebVisitRelationships = WebVisitRelationships()

    @property
    def started_at(self) -> datetime | None:
        """The start time. UTC is assumed if the API sent no time zone."""
        started = self.attributes.started_at
        return started if started is None or started.tzinfo else started.replace(tzinfo=UTC)

    @property
    def company(self) -> Company | None:
        """The visiting company. A stub unless ``include=["company"]`` was passed."""
        return self.relationships.company

    @property
    def location(self) -> VisitLocation | None:
        """The location of the visitor."""
        return self.relationships.location

    @property
    def landing_page(self) -> str | None:
        """The path of the first page, such as ``/pricing``."""
        return self.attributes.landing_page_path
