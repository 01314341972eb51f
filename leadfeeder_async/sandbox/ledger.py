"""What the sandbox saw, told by itself: the truth to hold a client's account against."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request that arrived."""

    method: str
    path: str
    template: str
    """The route, such as ``/v1/companies/{id}``."""
    operation: str
    status: int
    charged: int
    request_id: str


@dataclass(slots=True)
class Ledger:
    """Every request, charge and creation, in order."""

    requests: list[RecordedRequest] = field(default_factory=list[RecordedRequest])
    charges: list[str] = field(default_factory=list[str])
    """The id of each record that cost a credit; an id twice is a double charge."""
    creations: list[str] = field(default_factory=list[str])
    """The id of each record that was made."""
    operations: frozenset[str] = frozenset()
    """The names there are."""

    @property
    def credits_charged(self) -> int:
        """The credits charged so far."""
        return len(self.charges)

    @property
    def rate_limited(self) -> int:
        """The answers 429 so far."""
        return sum(entry.status == 429 for entry in self.requests)

    def count(self, operation: str) -> int:
        """Count the requests of one operation, by its name in the contract; ValueError where it has none such."""
        self.validate_operation(operation)
        return sum(entry.operation == operation for entry in self.requests)

    def validate_operation(self, operation: str) -> None:
        """Raise ValueError unless there is an operation of that name: a misspelt one would be met by no request."""
        if operation not in self.operations:
            near = get_close_matches(operation, self.operations, 1)
            raise ValueError(f"{operation!r} is no operation{f'; is it {near[0]!r}?' if near else ' of the contract.'}")
