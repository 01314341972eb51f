"""IP addresses, and the places and networks behind them."""

from __future__ import annotations

from typing import TypeAlias

from leadfeeder_async.models import companies
from leadfeeder_async.models.base import Model


class LocationAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A place, as finely as it is known."""

    city: str | None = None
    country: str | None = None
    country_code: str | None = None
    """ISO 3166-1 alpha-2, such as ``DE``."""
    region: str | None = None
    region_code: str | None = None
    postal_code: str | None = None
    state: str | None = None


class Location(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A place (contract: ``LocationV1``, ``VisitLocationV1``, ``IpLocationV1``)."""

    id: str
    type: str = "location"
    attributes: LocationAttributes = LocationAttributes()

    @property
    def city(self) -> str | None:
        """The city; None on a stub."""
        return self.attributes.city

    @property
    def country_code(self) -> str | None:
        """The country, ISO 3166-1 alpha-2; None on a stub."""
        return self.attributes.country_code


VisitLocation: TypeAlias = Location
IpLocation: TypeAlias = Location


class NetworkAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Who runs a network."""

    name: str | None = None
    asn: str | int | None = None
    """The number of the autonomous system, as a number or a text."""
    cidr: str | None = None


class Network(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A network of the internet (contract: ``NetworkV1``)."""

    id: str
    type: str = "network"
    attributes: NetworkAttributes = NetworkAttributes()

    @property
    def name(self) -> str | None:
        """Who runs it."""
        return self.attributes.name


class IpAddressAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An address, and how sure its owner is."""

    ip: str | None = None
    confidence_score: str | float | None = None


class IpAddressRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Where an address is."""

    location: Location | None = None
    network: Network | None = None


class IpAddressExtended(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An address of a company (contract: ``IpAddressExtendedV1``)."""

    id: str
    type: str = "ip_address"
    attributes: IpAddressAttributes = IpAddressAttributes()
    relationships: IpAddressRelationships = IpAddressRelationships()

    @property
    def ip(self) -> str | None:
        """The address."""
        return self.attributes.ip


class EnrichedIpAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An address and what kind of company is behind it."""

    ip: str | None = None
    company_type: str | None = None
    """``company``, ``isp`` and others."""
    confidence_score: str | float | None = None


class EnrichedIpRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Who and where an address is."""

    company: companies.Company | None = None
    location: IpLocation | None = None
    network: Network | None = None


class EnrichedIp(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """What is known of an IP address (contract: ``EnrichedIpV1``)."""

    id: str
    type: str = "enriched_ip"
    attributes: EnrichedIpAttributes = EnrichedIpAttributes()
    relationships: EnrichedIpRelationships = EnrichedIpRelationships()

    @property
    def company(self) -> companies.Company | None:
        """The company behind the address; None where there is none."""
        return self.relationships.company

    @property
    def location(self) -> Location | None:
        """Where the address is."""
        return self.relationships.location
