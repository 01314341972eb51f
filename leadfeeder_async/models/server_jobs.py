"""Jobs that run on the server. Their routes are not known, so only ``lf.request`` can return them."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record


class JobAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The progress and charge of a job."""

    status: str | None = None
    credits_charged: int | None = None
    total: int | None = None
    processed: int | None = None


class Job(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A job on the server (contract: ``JobV1``). Its route is not known, so only ``lf.request`` can return it."""

    id: str
    type: str = "job"
    attributes: JobAttributes = JobAttributes()


class JobEstimateAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The estimated size and charge of a job."""

    eligible: int | None = None
    estimated_credits: int | None = None


class JobEstimate(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The estimated charge of a job (contract: ``JobEstimateV1``)."""

    id: str
    type: str = "job_estimate"
    attributes: JobEstimateAttributes = JobEstimateAttributes()
