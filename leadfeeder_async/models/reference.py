"""Industries, the usage of the API, and jobs."""

from __future__ import annotations

from leadfeeder_async.models.base import Model


class IndustryAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An industry's code, name and classification."""

    code: str | None = None
    name: str | None = None
    classification: str | None = None
    """``internal``, ``wz`` or ``nace``."""


class Industry(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An industry to search by (contract: ``IndustryV1``)."""

    id: str
    type: str = "industry"
    attributes: IndustryAttributes = IndustryAttributes()

    @property
    def code(self) -> str | None:
        """What goes into ``industries.codes`` of a company search."""
        return self.attributes.code

    @property
    def name(self) -> str | None:
        """The industry in words."""
        return self.attributes.name


class NaceCode(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An entry of the NACE or WZ classification."""

    code: str
    level: str
    """``section``, ``division``, ``group``, ``class`` or, in WZ, ``subclass``."""
    title: str


class ApiUsageAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The requests of one month to one endpoint."""

    period: str | None = None
    """``YYYY-MM``."""
    endpoint: str | None = None
    method: str | None = None
    requests: int | None = None
    credits_charged: int | None = None


class ApiUsage(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """What one endpoint was used for in one month (contract: ``ApiUsageV1``)."""

    id: str
    type: str = "api_usage"
    attributes: ApiUsageAttributes = ApiUsageAttributes()


class JobAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """How far a job of the server is."""

    status: str | None = None
    credits_charged: int | None = None
    total: int | None = None
    processed: int | None = None


class Job(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A job that runs at the server (contract: ``JobV1``); its routes are not known, so only ``request`` meets it."""

    id: str
    type: str = "job"
    attributes: JobAttributes = JobAttributes()


class JobEstimateAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """What a job would cost."""

    eligible: int | None = None
    estimated_credits: int | None = None


class JobEstimate(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """What a job would cost (contract: ``JobEstimateV1``)."""

    id: str
    type: str = "job_estimate"
    attributes: JobEstimateAttributes = JobEstimateAttributes()
