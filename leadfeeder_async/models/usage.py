"""The usage of the API."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record


class ApiUsageAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The requests to an endpoint in one month."""

    period: str | None = None
    """The month, as ``YYYY-MM``."""
    endpoint: str | None = None
    method: str | None = None
    requests: int | None = None
    credits_charged: int | None = None


class ApiUsage(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The usage of an endpoint in one month (contract: ``ApiUsageV1``)."""

    id: str
    type: str = "api_usage"
    attributes: ApiUsageAttributes = ApiUsageAttributes()
