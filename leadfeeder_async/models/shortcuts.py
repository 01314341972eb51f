"""Shortcuts to the company and the location of a record."""

from __future__ import annotations

from typing import Protocol


class _Company(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def url(self) -> str | None: ...
    @property
    def country(self) -> str | None: ...


class _OfCompany(Protocol):
    @property
    def company(self) -> _Company | None: ...


class _Location(Protocol):
    @property
    def city(self) -> str | None: ...
    @property
    def country_code(self) -> str | None: ...


class _OfLocation(Protocol):
    @property
    def location(self) -> _Location | None: ...


class CompanyShortcuts:
    """Everyday fields of the company of a record."""

    __slots__ = ()

    @property
    def company_id(self: _OfCompany) -> str | None:
        """The id of the company. None if the record has no company."""
        return None if self.company is None else self.company.id

    @property
    def company_name(self: _OfCompany) -> str | None:
        """The name of the company. None if there is no company, or if ``include`` did not name it."""
        return None if self.company is None else self.company.name

    @property
    def company_url(self: _OfCompany) -> str | None:
        """The website of the company. None if there is no company, or if ``include`` did not name it."""
        return None if self.company is None else self.company.url

    @property
    def company_country(self: _OfCompany) -> str | None:
        """The country of the company. None if there is no company, or if ``include`` did not name it."""
        return None if self.company is None else self.company.country


class LocationShortcuts:
    """Everyday fields of the location of a record."""

    __slots__ = ()

    @property
    def location_city(self: _OfLocation) -> str | None:
        """The city of the location."""
        return None if self.location is None else self.location.city

    @property
    def location_country_code(self: _OfLocation) -> str | None:
        """The country of the location as ISO 3166-1 alpha-2, such as ``DE``."""
        return None if self.location is None else self.location.country_code
