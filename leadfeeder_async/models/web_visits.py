"""The tracker script of the account's website."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record


class WebVisitsTrackerScriptAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The tracker script and its status."""

    script_hash: str | None = None
    script_html: str | None = None
    """The HTML to paste into the pages of the website."""
    status: str | None = None


class WebVisitsTrackerScript(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The tracker script of the account (contract: ``WebVisitsTrackerScriptV1``)."""

    id: str
    type: str = "web_visits_tracker_script"
    attributes: WebVisitsTrackerScriptAttributes = WebVisitsTrackerScriptAttributes()

    @property
    def status(self) -> str | None:
        """The status of the tracker, which shows if it works."""
        return self.attributes.status
