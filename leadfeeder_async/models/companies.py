"""Companies, whole and in summary, and the bodies that search them."""

from __future__ import annotations

from datetime import date

from leadfeeder_async.models import ip, web_visits
from leadfeeder_async.models.base import Model
from leadfeeder_async.models.crm import CRMConnection, CRMGroupConnection, CRMSuggestion
from leadfeeder_async.models.tags_and_lists import Icp, List, Tag


class IndustryCode(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """One industry by code and name (contract: ``IndustryCodeV1``)."""

    code: str | None = None
    name: str | None = None


class Industries(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company's industries in three classifications (contract: ``IndustriesV1``)."""

    industry: tuple[IndustryCode, ...] | None = None
    wz: tuple[IndustryCode, ...] | None = None
    nace: tuple[IndustryCode, ...] | None = None


class Address(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A postal address (contract: ``AddressV1``)."""

    street_address: str | None = None
    postal_code: str | None = None
    city: str | None = None
    country: str | None = None
    country_code: str | None = None
    region: str | None = None


class MoneyFigure(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An amount of money in a year (contract: ``MoneyFigureV1``)."""

    value: float | None = None
    value_eur: float | None = None
    currency: str | None = None
    year: int | None = None
    estimated: bool | None = None


class ProfileLink(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A link to one profile (contract: ``ProfileLinkV1``)."""

    url: str | None = None


class SocialMediaProfiles(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Profiles by network (contract: ``SocialMediaProfilesV1``)."""

    linkedin: tuple[ProfileLink, ...] | None = None
    twitter: tuple[ProfileLink, ...] | None = None
    facebook: tuple[ProfileLink, ...] | None = None


class Phone(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A telephone number (contract: ``PhoneV1``)."""

    number: str | None = None


class CompanyRegister(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company's entry in the commercial register (contract: ``CompanyRegisterV1``)."""

    status: str | None = None
    id: str | None = None
    location: str | None = None


class CompanyMeta(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """What else is known of a company (contract: ``CompanyMetaV1``)."""

    do_not_contact: bool | None = None
    has_phones: bool | None = None
    has_mail: bool | None = None
    has_contacts: bool | None = None
    num_contacts: int | None = None


class Intent(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """How much a company looks like buying (contract: ``IntentV1``)."""

    score: float | None = None
    """0 to 10."""
    score_tier: str | None = None
    last_updated_at: str | None = None


class WebEngagement(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company's last visit; the vendor says it may be stale, so prefer the visits."""

    last_visit_date: str | None = None


class CompanyAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """What is known of a company; every field can be missing."""

    name: str | None = None
    alternative_names: tuple[str, ...] | None = None
    url: str | None = None
    alternative_urls: tuple[str, ...] | None = None
    logo_url: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] | str | None = None
    industries: Industries | None = None
    employee_count: int | None = None
    employee_range: str | int | None = None
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
    """Records around a company: stubs, or whole where ``include`` named them."""

    group_company: Company | None = None
    tags: tuple[Tag, ...] | None = None
    lists: tuple[List, ...] | None = None
    web_visits: tuple[web_visits.WebVisit, ...] | None = None
    icps: tuple[Icp, ...] | None = None
    crm_connections: tuple[CRMConnection, ...] | None = None
    crm_suggestions: tuple[CRMSuggestion, ...] | None = None
    crm_group_connections: tuple[CRMGroupConnection, ...] | None = None


class Company(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company (contract: ``CompanyV1``); a stub has only ``id`` and ``type``."""

    id: str
    type: str = "company"
    attributes: CompanyAttributes = CompanyAttributes()
    relationships: CompanyRelationships = CompanyRelationships()

    @property
    def name(self) -> str | None:
        """The company's name; None on a stub."""
        return self.attributes.name

    @property
    def url(self) -> str | None:
        """The company's website; None on a stub."""
        return self.attributes.url

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The company's tags; needs ``include=["tags"]`` for their names."""
        return self.relationships.tags or ()

    @property
    def lists(self) -> tuple[List, ...]:
        """The lists the company is on; needs ``include=["lists"]`` for their names."""
        return self.relationships.lists or ()


class CompanySummaryAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """What a search shows of a company without charging."""

    name: str | None = None
    role: str | None = None
    register: CompanyRegister | None = None
    meta: CompanyMeta | None = None
    url: str | None = None
    employee_range: str | int | None = None
    employee_count: int | None = None
    industries: Industries | None = None
    address: Address | None = None
    revenue: MoneyFigure | None = None


class CompanySummary(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company in a search result (contract: ``CompanySummaryV1``, ``MaskedCompanySummaryV1``)."""

    id: str
    type: str = "company_summary"
    attributes: CompanySummaryAttributes = CompanySummaryAttributes()

    @property
    def name(self) -> str | None:
        """The company's name."""
        return self.attributes.name

    @property
    def url(self) -> str | None:
        """The company's website, where the search shows it."""
        return self.attributes.url


class CompanyLocationRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Which company, and where."""

    company: Company | None = None
    location: ip.Location | None = None


class CompanyLocation(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A company that visited, at one of its places (contract: ``CompanyLocationV1``).

    A company with several places comes several times.
    """

    id: str
    type: str = "company_location"
    attributes: dict[str, object] | None = None
    relationships: CompanyLocationRelationships = CompanyLocationRelationships()

    @property
    def company(self) -> Company | None:
        """The company; a stub unless ``include=["company"]``."""
        return self.relationships.company

    @property
    def location(self) -> ip.Location | None:
        """The place."""
        return self.relationships.location


class SignalAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """What happened at a company, and when."""

    category: str | None = None
    event_date: date | None = None
    publication_date: date | None = None
    title: str | None = None
    summary: str | None = None
    url: str | None = None


class SignalRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Whom it happened to."""

    company: Company | None = None


class Signal(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A piece of news about a company (contract: ``SignalV1``)."""

    id: str
    type: str = "signal"
    attributes: SignalAttributes = SignalAttributes()
    relationships: SignalRelationships = SignalRelationships()

    @property
    def company(self) -> Company | None:
        """The company it is about."""
        return self.relationships.company


class CompanyFinancialsAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company's figures of one year; amounts are figures with a currency, or bare numbers."""

    year: int | None = None
    currency: str | None = None
    revenue: MoneyFigure | float | None = None
    earnings: MoneyFigure | float | None = None
    net_worth: MoneyFigure | float | None = None
    employee_count: int | None = None


class CompanyFinancials(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A financial report of one year (contract: ``CompanyFinancialsV1``)."""

    id: str
    type: str = "company_financials"
    attributes: CompanyFinancialsAttributes = CompanyFinancialsAttributes()


class CompanyMatchAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """How well a company matches."""

    match_score: float | None = None
    """0 to 1."""


class CompanyMatchRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The company that matches."""

    company_summary: CompanySummary | None = None


class CompanyMatch(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company that may be the one meant (contract: ``CompanyMatchV1``)."""

    id: str
    type: str = "company_match"
    attributes: CompanyMatchAttributes = CompanyMatchAttributes()
    relationships: CompanyMatchRelationships = CompanyMatchRelationships()

    @property
    def score(self) -> float | None:
        """How well it matches, 0 to 1."""
        return self.attributes.match_score

    @property
    def company(self) -> CompanySummary | None:
        """The company that matches."""
        return self.relationships.company_summary


class CompanyIpRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A company and its addresses."""

    company: Company | None = None
    ip_addresses: tuple[ip.IpAddressExtended, ...] | None = None


class CompanyIp(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The IP addresses of a company (contract: ``CompanyIpV1``)."""

    id: str
    type: str = "company_ip"
    attributes: dict[str, object] | None = None
    relationships: CompanyIpRelationships = CompanyIpRelationships()

    @property
    def ip_addresses(self) -> tuple[ip.IpAddressExtended, ...]:
        """The addresses, with place and network."""
        return self.relationships.ip_addresses or ()
