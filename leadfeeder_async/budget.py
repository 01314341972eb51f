"""Budgets: limits on the requests and credits of some calls.

Each attempt consumes one request. A call that may charge reserves the most it can cost before it is sent, and
``meta.credits.charged`` of its response then replaces the reservation. If the response is lost, the reservation
becomes spent, because the credits may have been charged. Budgets nest, and all tasks started inside a budget share it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextvars import ContextVar, Token
from typing import Protocol, Self

import msgspec

from leadfeeder_async._argument_checks import check_integer, check_methods
from leadfeeder_async.errors import BudgetExceededError, ErrorContext


class SharedCreditPool(Protocol):
    """Credits that several processes spend together, for ``Budget(shared=...)``; ``RedisCredits`` is one."""

    @property
    def credits_left(self) -> int:
        """Credits that a call can still reserve, as far as known."""
        ...

    async def reserve(self, most: int, context: ErrorContext) -> None:
        """Reserve the most that a call may charge, or raise BudgetExceededError or the reason it is unknown."""
        ...

    def settle(self, reserved: int, charged: int) -> None:
        """Replace a reservation with the credits that were charged."""
        ...


class Budget:
    """A limit on requests and credits, and what was spent of it.

    Args:
        max_requests: The most requests to send. None for no limit.
        max_credits: The most credits to spend. None for no limit. With 0, no call that may charge is sent.
        shared: A credit limit shared with other processes.

    """

    def __init__(
        self, max_requests: int | None = None, max_credits: int | None = None, shared: SharedCreditPool | None = None
    ) -> None:
        for name, most in (("max_requests", max_requests), ("max_credits", max_credits)):
            if most is not None:
                check_integer(name, most, 0)
        check_methods("shared", shared, "a pool of credits such as RedisCredits", "reserve", "settle")
        self.max_requests: int | None = max_requests
        self.max_credits: int | None = max_credits
        self.shared: SharedCreditPool | None = shared
        self.requests: int = 0
        """Requests sent, or about to be sent."""
        self.credits: int = 0
        """Credits charged, including the reservations of lost responses."""
        self.reserved: int = 0
        """Credits that calls in flight may still charge."""

    def __repr__(self) -> str:
        spent = f"{self.requests} requests and {self.credits} credits spent, {self.reserved} reserved"
        return f"<Budget max_requests={self.max_requests}, max_credits={self.max_credits}: {spent}>"

    @property
    def credits_left(self) -> int | None:
        """Credits that a call can still reserve, or None if there is no limit."""
        limits = [] if self.max_credits is None else [max(0, self.max_credits - self.credits - self.reserved)]
        if self.shared is not None:
            limits.append(self.shared.credits_left)
        return min(limits, default=None)


class BudgetReservation:
    """The credits that one call reserves in all its budgets, as a context manager that settles at its end.

    Args:
        budgets: The budgets of the call. One that applies twice counts once.
        most: The most credits that the call can charge.
        context: The call, for errors.

    """

    __slots__ = ("_budgets", "_charged", "_context", "_pid", "_reserved", "_shared_reservations", "possibly_charged")

    def __init__(self, budgets: Iterable[Budget], most: int, context: ErrorContext) -> None:
        self._budgets = tuple(dict.fromkeys(budgets))
        self._context = context
        self._reserved = most
        self._charged: int | None = None
        self._shared_reservations: list[SharedCreditPool] = []
        self._pid = 0
        self.possibly_charged = False
        """True if an attempt may have been charged: it may have been sent and was not rejected."""

    def __enter__(self) -> Self:
        for budget in self._budgets:
            _check_credits(budget, self._reserved, self._context)
        for budget in self._budgets:
            budget.reserved += self._reserved
        return self

    def __exit__(self, *_: object) -> None:
        unknown = self._reserved if self.possibly_charged else 0
        spent = unknown if self._charged is None else self._charged
        for budget in self._budgets:
            budget.reserved -= self._reserved
            budget.credits += spent
        while self._shared_reservations:
            pool = self._shared_reservations.pop()
            if self._pid == os.getpid():  # after a fork, the copy of the call in the child has reserved nothing
                pool.settle(self._reserved, spent)

    @property
    def needs_shared_credits(self) -> bool:
        """True if credits must be reserved in a pool of several processes before the call is sent."""
        return self._reserved > 0 and any(budget.shared is not None for budget in self._budgets)

    async def reserve_shared(self) -> None:
        """Reserve credits in the pools that other processes share, or raise BudgetExceededError."""
        self._pid = os.getpid()
        pools = {id(budget.shared): budget.shared for budget in self._budgets if budget.shared is not None}
        for pool in pools.values():
            await pool.reserve(self._reserved, self._context)
            self._shared_reservations.append(pool)

    def check_request(self, context: ErrorContext) -> None:
        """Raise BudgetExceededError if no further request is allowed."""
        for budget in self._budgets:
            _check_request(budget, context)

    def consume_request(self, context: ErrorContext) -> None:
        """Count a request that is about to be sent, or raise BudgetExceededError if it is not allowed."""
        self.check_request(context)
        for budget in self._budgets:
            budget.requests += 1

    def record_charge(self, charged: int) -> None:
        """Replace the reservation with the credits that the responses charged.

        Negative charges count as zero so that a refund cannot raise the limit.
        """
        self._charged = (self._charged or 0) + max(0, charged)


def _check_request(budget: Budget, context: ErrorContext) -> None:
    if budget.max_requests is not None and budget.requests >= budget.max_requests:
        raise BudgetExceededError(
            f"The budget of {budget.max_requests:,} requests is used up.",
            context,
            hint="Raise max_requests, or continue later.",
        )


def _check_credits(budget: Budget, most: int, context: ErrorContext) -> None:
    spent, limit = budget.credits + budget.reserved, budget.max_credits
    if limit is not None and most and spent + most > limit:
        raise BudgetExceededError(
            f"This call may charge {most:,} credits, but {spent:,} of {limit:,} are spent or reserved.",
            context,
            hint="Raise max_credits, or request fewer records at once.",
        )


class _ActiveBudget(msgspec.Struct, eq=False):
    """A budget whose ``async with`` block was entered."""

    client: object
    budget: Budget
    ended: bool = False
    """True if the budget no longer applies, even in contexts that still contain it."""


ACTIVE_BUDGETS: ContextVar[tuple[_ActiveBudget, ...]] = ContextVar("leadfeeder_budgets", default=())
"""The budgets of all clients that apply in the current context."""


def active_budgets(client: object) -> tuple[Budget, ...]:
    """Return the budgets that apply to calls of one client in the current context, the outermost first."""
    entries = ACTIVE_BUDGETS.get()
    return tuple(entry.budget for entry in entries if entry.client is client and not entry.ended) if entries else ()


def _active_entries() -> tuple[_ActiveBudget, ...]:
    return tuple(entry for entry in ACTIVE_BUDGETS.get() if not entry.ended)


class BudgetScope:
    """Apply a budget to the calls of one client inside an ``async with`` block and in the tasks it starts.

    A task that outlives the block stays under the budget. If the block ends in another context than it began in, as
    that of an unfinished async generator may, the budget ends for all contexts.
    """

    def __init__(self, client: object, budget: Budget) -> None:
        self._client = client
        self._budget = budget
        self._entered = list[tuple[_ActiveBudget, Token[tuple[_ActiveBudget, ...]]]]()

    async def __aenter__(self) -> Budget:
        entry = _ActiveBudget(self._client, self._budget)
        self._entered.append((entry, ACTIVE_BUDGETS.set((*_active_entries(), entry))))
        return self._budget

    async def __aexit__(self, *_: object) -> None:
        entry, token = self._entered.pop(self._last_entered_here())
        remaining = tuple(other for other in _active_entries() if other is not entry)
        try:
            ACTIVE_BUDGETS.reset(token)
        except ValueError:  # the block was entered in another context, which cannot be changed from here
            entry.ended = True
        ACTIVE_BUDGETS.set(remaining)  # the blocks of generators end in any order, so the token's value may be outdated

    def _last_entered_here(self) -> int:
        here = ACTIVE_BUDGETS.get()
        return max((index for index, (entry, _) in enumerate(self._entered) if entry in here), default=-1)
