"""The rows of a day that is read in groups of countries, and the check that none is missing."""

from __future__ import annotations

import msgspec

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async.pagination.split_check import SplitRange


class DayInGroups(msgspec.Struct):
    """A day over the row limit that is read in groups of countries."""

    request: ApiRequest[bytes]
    """The search of the whole day."""
    total: int | None
    """The rows that the server counted before the groups were read."""
    counted: int
    """The sum of the counts of the groups."""
    ids: set[str]
    """The ids of all rows that were returned."""
    without_group: set[str]
    """The ids of rows that the search of the whole day returned, but no group so far."""
    has_unreliable_count: bool
    """True if the server counts no further than its row limit, or only the rows of a page."""
    groups_left: int
    split: SplitRange | None
    """The date range that the day is a part of."""
    is_truncated: bool = False
    """True if the server has, or may have, more rows of a group than it returns."""
    missing: int = 0
    """Rows without a country that the server counts but did not return."""

    @property
    def rows(self) -> int:
        """The number of rows that the day should have."""
        return max(self.total or 0, self.counted, len(self.ids) + self.missing)

    @property
    def is_complete(self) -> bool:
        """True if no rows can be missing. If the count is limited, rows without a country may be missing."""
        if self.missing or self.is_truncated or self.total is None:
            return False
        return not (self.has_unreliable_count and self.without_group)

    def record_counts(self, before: int, with_country: int, after: int) -> None:
        """Compare the rows that arrived with the counts of the server after all groups were read.

        Args:
            before: The rows of the day.
            with_country: The rows that have a country.
            after: The rows of the day, counted last.
        """
        removed = max(0, (self.total or 0) - min(before, after), self.counted - with_country)
        without_country = max(0, len(self.without_group) - removed)  # no group returned the removed rows either
        self.missing = max(0, max(before, after) - with_country - without_country)
        self.has_unreliable_count = self.total == after < len(self.ids)
