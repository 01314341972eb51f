"""A record of the requests, charges and creations of a sandbox, for assertions in tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the sandbox received."""

    method: str
    """The HTTP method."""
    path: str
    """The path without the query string."""
    template: str
    """The path template, such as ``/v1/companies/{id}``. Empty if no route matched."""
    operation: str
    """The operation name in the contract, or the error code if no route matched."""
    status: int
    """The status of the response."""
    charged: int
    """The credits that the response reported as charged."""
    request_id: str
    """The request id in the response."""


@dataclass(slots=True)
class Ledger:
    """The requests, charges and creations of a sandbox, each in order of arrival."""

    requests: list[RecordedRequest] = field(default_factory=list[RecordedRequest])
    """Every request so far."""
    charges: list[str] = field(default_factory=list[str])
    """The id of each record that was charged. An id that occurs twice was charged twice."""
    creations: list[str] = field(default_factory=list[str])
    """The id of each record that a request created."""
    operations: frozenset[str] = frozenset()
    """The operation names in the contract."""

    @property
    def credits_charged(self) -> int:
        """The number of credits charged so far, by failed requests too."""
        return len(self.charges)

    @property
    def rate_limited(self) -> int:
        """The number of responses with status 429 so far."""
        return sum(request.status == 429 for request in self.requests)

    def count(self, operation: str) -> int:
        """Return the number of requests of an operation.

        Args:
            operation: The operation name in the contract, such as ``"get_company"``.

        Raises:
            ValueError: If the contract has no such operation.
        """
        self.validate_operation(operation)
        return sum(request.operation == operation for request in self.requests)

    def validate_operation(self, operation: str) -> None:
        """Raise an error for an unknown operation name, which no request would ever match.

        Args:
            operation: The operation name in the contract.

        Raises:
            ValueError: If the contract has no such operation.
        """
        if operation not in self.operations:
            similar = get_close_matches(operation, self.operations, 1)
            hint = f" Did you mean {similar[0]!r}?" if similar else " Use a name from `ledger.operations`."
            raise ValueError(f"There is no operation {operation!r}.{hint}")
