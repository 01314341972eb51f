"""Budgets: what some calls may spend, reserved before they are sent and settled by what the answers charged.

A budget is a count of requests, of credits, or of both. Every attempt takes a request. A call that may charge reserves
the most it can cost before it is sent; its answer's ``meta.credits.charged`` then replaces the reservation. Where the
answer was lost, the reservation stays: the money may be gone. Budgets nest, and all tasks started inside one share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar, Token
from typing import Protocol

import msgspec

from leadfeeder_async.errors import BudgetExceededError, ErrorContext, check_argument


class SharedCreditPool(Protocol):
    """Credits that several processes may spend together: ``RedisCredits``, or your own, as ``Budget(shared=...)``."""

    @property
    def credits_left(self) -> int:
        """Credits that a call may still reserve, as last heard."""
        ...

    async def reserve(self, most: int, context: ErrorContext) -> None:
        """Reserve what a call may charge; raise BudgetExceededError, or what keeps it from being known."""
        ...

    def settle(self, reserved: int, charged: int) -> None:
        """Replace a reservation by what was charged."""
        ...


class Budget:
    """What may be spent, and what was; ``shared`` is what other processes spend of too."""

    def __init__(
        self, max_requests: int | None = None, max_credits: int | None = None, shared: SharedCreditPool | None = None
    ) -> None:
        for name, most in (("max_requests", max_requests), ("max_credits", max_credits)):
            check_argument(most is None or most >= 0, f"{name}={most!r} must be 0 or more.")
        self.max_requests: int | None = max_requests
        self.max_credits: int | None = max_credits
        self.shared: SharedCreditPool | None = shared
        self.requests: int = 0
        """Requests sent, or about to be."""
        self.credits: int = 0
        """Credits charged, and those of lost answers."""
        self.reserved: int = 0
        """Credits that calls under way may still charge."""

    def __repr__(self) -> str:
        spent = f"{self.requests} requests and {self.credits} credits spent, {self.reserved} reserved"
        return f"<Budget max_requests={self.max_requests}, max_credits={self.max_credits}: {spent}>"

    @property
    def credits_left(self) -> int | None:
        """Credits that a call may still reserve; None without a bound."""
        bounds = [] if self.max_credits is None else [max(0, self.max_credits - self.credits - self.reserved)]
        if self.shared is not None:
            bounds.append(self.shared.credits_left)
        return min(bounds, default=None)

    def check_request(self, context: ErrorContext) -> None:
        """Raise unless one more request may be sent."""
        if self.max_requests is not None and self.requests >= self.max_requests:
            said = f"The budget of {self.max_requests:,} requests is used up."
            raise BudgetExceededError(said, context, hint="Raise max_requests, or go on later.")

    def check_credits(self, most: int, context: ErrorContext) -> None:
        """Raise unless a call that may charge ``most`` credits may be sent."""
        spent = self.credits + self.reserved
        if self.max_credits is not None and most and spent + most > self.max_credits:
            raise BudgetExceededError(
                f"This call may charge {most:,} of {self.max_credits:,} credits, and {spent:,} are spent or reserved.",
                context,
                hint="Raise max_credits, or ask for fewer records at once.",
            )


class BudgetReservation:
    """One call's part of the budgets it falls under."""

    __slots__ = ("_budgets", "_reserved", "_shared_reservations", "context", "possibly_charged")

    def __init__(self, budgets: Iterable[Budget], most: int, context: ErrorContext) -> None:
        self._budgets = tuple(dict.fromkeys(budgets))  # one that a call falls under twice counts it once
        self.context = context
        """The call it pays for."""
        self._reserved = most
        self._shared_reservations: list[SharedCreditPool] = []
        self.possibly_charged = False
        """Whether an attempt may have been charged: it may have left, and was not refused."""
        for budget in self._budgets:
            budget.check_credits(most, context)
        for budget in self._budgets:
            budget.reserved += most

    @property
    def is_tracked(self) -> bool:
        """Whether any budget is there to be charged."""
        return bool(self._budgets)

    @property
    def is_shared(self) -> bool:
        """Whether other processes must be heard before it is sent."""
        return self._reserved > 0 and any(budget.shared is not None for budget in self._budgets)

    async def reserve_shared(self) -> None:
        """Reserve at what other processes spend of too; raises where they have left too little."""
        shares = {id(one.shared): one.shared for one in self._budgets if one.shared is not None}
        for shared in shares.values():
            await shared.reserve(self._reserved, self.context)
            self._shared_reservations.append(shared)

    def check_request(self) -> None:
        """Raise BudgetExceededError where one more attempt would be one too many."""
        for budget in self._budgets:
            budget.check_request(self.context)

    def consume_request(self) -> None:
        """Count an attempt that is about to be sent; raise, and send nothing, where it is one too many."""
        self.check_request()
        for budget in self._budgets:
            budget.requests += 1

    def settle(self, charged: int | None = None) -> None:
        """Replace the reservation by what was charged; None where that cannot be known.

        Less than nothing counts as nothing: what an answer gives back must not pay for more calls than were allowed.
        """
        reserved, self._reserved = self._reserved, 0
        spent = reserved if charged is None else max(0, charged)
        for budget in self._budgets:
            budget.reserved -= reserved
            budget.credits += spent
        while self._shared_reservations:
            self._shared_reservations.pop().settle(reserved, spent)


class _ActiveBudget(msgspec.Struct, eq=False):
    """One time that a block was entered."""

    client: object
    budget: Budget
    ended: bool = False
    """Whether it binds no call any more, in whatever context still names it."""


_active: ContextVar[tuple[_ActiveBudget, ...]] = ContextVar("leadfeeder_budgets", default=())


def active_budgets(owner: object) -> list[Budget]:
    """Return the budgets that calls of one client fall under here, the outermost first."""
    return [entry.budget for entry in _active_entries() if entry.client is owner]


def _active_entries() -> tuple[_ActiveBudget, ...]:
    return tuple(entry for entry in _active.get() if not entry.ended)


class BudgetScope:
    """Puts the calls of one client under a budget, for the time of an ``async with`` block and its tasks.

    A task that outlives the block stays under the budget. Where the block ends in another context than it began in, as
    that of an async generator does which was left in the middle, the budget ends for everyone.
    """

    def __init__(self, owner: object, budget: Budget) -> None:
        self._owner = owner
        self._budget = budget
        self._entered = list[tuple[_ActiveBudget, Token[tuple[_ActiveBudget, ...]]]]()

    async def __aenter__(self) -> Budget:
        entry = _ActiveBudget(self._owner, self._budget)
        self._entered.append((entry, _active.set((*_active_entries(), entry))))
        return self._budget

    async def __aexit__(self, *_: object) -> None:
        entry, token = self._entered.pop(self._last_entered_here())
        rest = tuple(other for other in _active_entries() if other is not entry)
        try:
            _active.reset(token)
        except ValueError:  # another context: the one it was entered in cannot be reached from here
            entry.ended = True
        _active.set(rest)  # and not what the token brought back: blocks of generators end in any order

    def _last_entered_here(self) -> int:
        here = _active.get()
        return max((place for place, (entry, _) in enumerate(self._entered) if entry in here), default=-1)
