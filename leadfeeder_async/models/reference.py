"""Reference data: industries and NACE codes."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record


class IndustryAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The code, name and classification of an industry."""

    code: str | None = None
    name: str | None = None
    classification: str | None = None
    """``internal``, ``wz`` or ``nace``."""


class Industry(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An industry that companies can be searched by (contract: ``IndustryV1``)."""

    id: str
    type: str = "industry"
    attributes: IndustryAttributes = IndustryAttributes()

    @property
    def code(self) -> str | None:
        """The code, for the argument ``industries`` of a company search."""
        return self.attributes.code

    @property
    def name(self) -> str | None:
        """The name of the industry."""
        return self.attributes.name


class NaceCode(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A code of the NACE or WZ classification."""

    code: str
    level: str
    """``section``, ``division``, ``group``, ``class`` or, in WZ, ``subclass``."""
    title: str
