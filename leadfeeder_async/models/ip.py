"""Places, as visits and companies name them."""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class LocationAttributes(msgspec.Struct, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A place, as finely as it is known."""

    city: str | None = None
    country: str | None = None
    country_code: str | None = None
    """ISO 3166-1 alpha-2, such as ``DE``."""
    region: str | None = None
    region_code: str | None = None
    postal_code: str | None = None
    state: str | None = None


class Location(msgspec.Struct, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
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
