"""The paths of operations whose path is only inferred: alternatives are tried until one exists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from leadfeeder_async._core.attempt import logger
from leadfeeder_async._core.endpoint import Endpoint

T = TypeVar("T")

UNKNOWN_ROUTE_STATUSES = frozenset({404, 405})
"""The statuses of a path that does not exist.

A 404 cannot mean a missing record, because these paths have no ids. The account may lack the feature, though.
"""


class Routes:
    """The paths of one client.

    Args:
        overrides: The paths that the user set, by operation. No alternative is tried for these.

    """

    def __init__(self, overrides: Mapping[str, str]) -> None:
        self.paths = dict(overrides)
        """The paths that differ from the contract, by operation."""
        self._settled = set(overrides)
        self._unknown = set[tuple[str, str | None]]()
        """The operations and accounts for which no path exists."""

    def next_path(self, endpoint: Endpoint[T], path: str, status: int | None, account_id: str | None) -> str | None:
        """Return the path to try after an error, or None if there is no other.

        Each is tried once per client and account, because one account may lack a feature that another one has.
        """
        if status not in UNKNOWN_ROUTE_STATUSES or (endpoint.operation, account_id) in self._unknown:
            return None
        if endpoint.operation in self._settled:
            known = self.paths.get(endpoint.operation, endpoint.path)  # another call may have found it meanwhile
            return known if known != path else None
        candidates = (endpoint.path, *endpoint.path_alternatives)
        following = candidates[candidates.index(path) + 1 :]
        if following:
            return following[0]
        self._unknown.add((endpoint.operation, account_id))
        return None

    def hint(self, endpoint: Endpoint[T], account_id: str | None) -> str:
        """Return how to proceed if no path of an endpoint exists, or an empty string."""
        if endpoint.operation in self._settled or (endpoint.operation, account_id) not in self._unknown:
            return ""
        tried, override = ", ".join((endpoint.path, *endpoint.path_alternatives)), {endpoint.operation: "/..."}
        return f"The path is inferred, and none of these exists: {tried}. Pass paths={override}."

    def record_success(self, endpoint: Endpoint[T], path: str) -> None:
        """Record that a path exists, so that later calls use it at once."""
        if endpoint.operation in self._settled:
            return
        self._settled.add(endpoint.operation)
        if path != endpoint.path:
            self.paths[endpoint.operation] = path
            logger.warning(
                "%s: %s %s exists, but %s does not. Pass paths={%r: %r} to use it at once.",
                *(endpoint.operation, endpoint.method, path, endpoint.path, endpoint.operation, path),
            )
