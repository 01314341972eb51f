"""Locations, networks, and the IP addresses of companies."""

from __future__ import annotations

from typing import TypeAlias

from leadfeeder_async.models.base import Model, Record


class LocationAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The city, region and country of a location."""

    city: str | None = None
    country: str | None = None
    country_code: str | None = None
    """ISO 3166-1 alpha-2, such as ``DE``."""
    region: str | None = None
    region_code: str | None = None
    postal_code: str | None = None
    state: str | None = None


class Location(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A geographic location (contract: ``LocationV1``, ``VisitLocationV1``, ``IpLocationV1``)."""

    id: str
    type: str = "location"
    attributes: LocationAttributes = LocationAttributes()

    @property
    def city(self) -> str | None:
        """The city. None on a stub."""
        return self.attributes.city

    @property
    def country_code(self) -> str | None:
        """The country as ISO 3166-1 alpha-2, such as ``DE``. None on a stub."""
        return self.attributes.country_code


VisitLocation: TypeAlias = Location
IpLocation: TypeAlias = Location


class NetworkAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The operator and address range of a network."""

    name: str | None = None
    """The operator of the network."""
    asn: str | int | None = None
    """The number of the autonomous system, as a number or a string."""
    cidr: str | None = None
    """The address range in CIDR notation."""


class Network(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An IP network (contract: ``NetworkV1``)."""

    id: str
    type: str = "network"
    attributes: NetworkAttributes = NetworkAttributes()

    @property
    def name(self) -> str | None:
        """The operator of the network. None on a stub."""
        return self.attributes.name


class IpAddressAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An IP address and the confidence that it belongs to the company."""

    ip: str | None = None
    confidence_score: str | float | None = None


class IpAddressRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The location and network of an IP address."""

    location: Location | None = None
    network: Network | None = None


class IpAddressExtended(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An IP address of a company (contract: ``IpAddressExtendedV1``)."""

    id: str
    type: str = "ip_address"
    attributes: IpAddressAttributes = IpAddressAttributes()
    relationships: IpAddressRelationships = IpAddressRelationships()

    @property
    def ip(self) -> str | None:
        """The IP address. None on a stub."""
        return self.attributes.ip
