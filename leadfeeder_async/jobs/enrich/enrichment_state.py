"""The state of an enrichment in its checkpoint."""

from __future__ import annotations

import msgspec

from leadfeeder_async.jobs.checkpoint import Checkpoint, Count, JobKind, JobState


class EnrichmentState(JobState, frozen=True, kw_only=True):
    """The credits that an enrichment may have been charged. They are saved together with their ids."""

    reserved_credits: Count = 0
    """The credits that all runs were charged or may have been charged, including those of requests in flight."""
    paid_ids: dict[str, Count] = msgspec.field(default_factory=dict[str, Count])
    """The reserved credits that each id may still be charged, or 0 if it was charged.

    These are the ids whose lines are not on the disk yet. Another request for them reserves nothing.
    """

    uncertain_ids: tuple[str, ...] = ()
    """The ids of responses that charged some of their records, whose lines are not on the disk yet.

    Another request for them charges nothing, because each was charged now or in the twelve months before. An id whose
    twelve months end before that request is charged.
    """

    @property
    def is_worth_keeping(self) -> bool:
        """True if credits may have been charged, although no row is written yet."""
        return self.reserved_credits > 0


ENRICHMENT = JobKind("enrichment", Checkpoint[EnrichmentState])
