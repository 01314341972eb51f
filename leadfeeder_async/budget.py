"""Budgets: limits on the requests and credits of some calls.

Each attempt consumes one request. A call that may charge reserves the most it can cost before it is sent, and
``meta.credits.charged`` of its response then replaces the reservation. If the response is lost, the credits that it may
have charged count as spent. Budgets nest, and all tasks started inside a budget share it.

The price of some calls is not published. Such a call reserves a multiple of the highest price so far. If too few
credits are left for this, it waits for the other calls of this kind in flight, because they release the credits that
they did not spend. Until a response has shown the price, these calls are sent one at a time.
"""

# pyright: reportPrivateUsage=false
# Only this module uses the private state of a budget.

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Collection, Iterable
from contextvars import ContextVar, Token
from typing import Protocol, Self

import msgspec
from msgspec.structs import replace

from leadfeeder_async._argument_checks import check_integer, check_methods
from leadfeeder_async.errors import BudgetExceededError, ErrorContext


class SharedCreditPool(Protocol):
    """Credits that several processes spend together, such as ``RedisCredits``, for ``Budget(shared=...)``."""

    @property
    def credits_left(self) -> int:
        """Credits that a call can still reserve, as far as known."""
        ...

    async def reserve(self, most: int, context: ErrorContext) -> None:
        """Reserve the most that a call may charge. Raise BudgetExceededError if the pool does not cover it."""
        ...

    def settle(self, reserved: int, charged: int) -> None:
        """Replace a reservation with the credits that were charged."""
        ...


PRICE_MARGIN = 10
"""A call with an unpublished price reserves this multiple of the highest price so far."""


class Price(msgspec.Struct):
    """The price of one item of an endpoint, as far as known."""

    is_published: bool = True
    """True if the published price applies: an item never charges more than one credit."""
    highest: int = 1
    """The highest charge for one item so far, and at least 1."""
    is_known: bool = True
    """True if the price is published, or a response has shown it."""
    may_be_free: bool = False
    """True if it is not known whether the operation charges at all."""
    highest_of_free_call: int = 0
    """The highest charge so far for a call without items, which should be free."""

    def most(self, items: int) -> int:
        """Return the credits to reserve for some items."""
        return self.least(items) * (1 if self.is_published else PRICE_MARGIN)

    def of_lost_response(self, items: int) -> int:
        """Return the credits that a lost response may have charged."""
        return self.least(items) * (1 if self.is_known else PRICE_MARGIN)

    def least(self, items: int) -> int:
        """Return the fewest credits that must be left to request some items."""
        return items * self.highest if items else self.highest_of_free_call

    def record_charge(self, charged: int, items: int = 1) -> None:
        """Learn the price from the charge of a response. A response that charged nothing shows no price."""
        if not items:
            self.highest_of_free_call = max(self.highest_of_free_call, charged)
            return
        each = -(-charged // items)
        if each > self.highest:
            self.highest, self.is_published = each, False
        self.is_known |= each > 0

    def learn(self, other: Price) -> None:
        """Learn from the price of the same endpoint that other clients have recorded."""
        self.highest = max(self.highest, other.highest)
        self.highest_of_free_call = max(self.highest_of_free_call, other.highest_of_free_call)
        self.is_published &= other.is_published
        self.is_known |= other.is_known


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
        self.max_requests: int | None = max_requests
        self.max_credits: int | None = max_credits
        self.shared: SharedCreditPool | None = shared
        self.requests: int = 0
        """Requests sent, or about to be sent."""
        self.credits: int = 0
        """Credits charged, including those that lost responses may have charged."""
        self.reserved: int = 0
        """Credits that calls in flight may still charge."""
        self._margin = 0
        """The part of ``reserved`` that calls in flight will probably release."""
        self._unpriced = 0
        """The calls in flight whose price is not published."""
        self._prices = dict[str | None, Price]()
        """The prices of operations, as all clients of this budget have learned them."""
        self._has_unpriced_losses = False
        """True if a response was lost before the price was known."""
        self._waiting = deque[asyncio.Event]()
        """The calls that wait for the calls in flight, in order of arrival."""
        for name, most in (("max_requests", max_requests), ("max_credits", max_credits)):
            if most is not None:
                check_integer(name, most, 0)
        check_methods("shared", shared, "a pool of credits such as RedisCredits", "reserve", "settle")

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


def shared_pools(budgets: Iterable[Budget]) -> Collection[SharedCreditPool]:
    """Return the shared pools of some budgets, each once."""
    return {id(budget.shared): budget.shared for budget in budgets if budget.shared is not None}.values()


class BudgetReservation:
    """The credits that one call reserves in all its budgets, as a context manager that settles at its end.

    Args:
        budgets: The budgets of the call. A budget that applies twice counts once.
        items: The most items for which the call can charge.
        price: The price of one item.
        context: The call, for errors.

    """

    __slots__ = (
        "_budgets",
        "_context",
        "_has_losses",
        "_is_reserved",
        "_items",
        "_lost",
        "_margin",
        "_most",
        "_pid",
        "_price",
        "_reserved",
        "_shared_reservations",
        "_spent",
        "_unpriced",
    )

    def __init__(self, budgets: Iterable[Budget], items: int, price: Price, context: ErrorContext) -> None:
        self._budgets = tuple(dict.fromkeys(budgets))
        self._context = context
        self._items = items
        self._price = price
        self._most: int | None = None
        """The most credits to reserve, if a shared pool has refused more."""
        self._is_reserved = False
        self._reserved = self._lost = self._margin = self._unpriced = 0
        self._spent = 0
        """The credits that the attempts so far were charged, or may have been."""
        self._has_losses = False
        """True if the response to an attempt was lost, so that its charge is not known."""
        self._shared_reservations: list[SharedCreditPool] = []
        self._pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._settle()

    def _learn_price(self) -> None:
        """Learn the price from the calls of all clients that share a budget."""
        for budget in self._budgets:
            if known := budget._prices.get(self._context.operation):
                self._price.learn(known)

    def reserve_at_once(self) -> bool:
        """Reserve the credits if no wait is needed.

        Returns:
            True if they are reserved. Otherwise, :meth:`reserve` must be awaited.

        Raises:
            BudgetExceededError: A budget does not cover the call.

        """
        self._learn_price()
        needs_pool = self._price.least(self._items) > 0 and shared_pools(self._budgets)
        return not needs_pool and self._reserve_locally(None) is None

    async def reserve(self) -> None:
        """Reserve the credits in all budgets and in the pools that other processes share.

        Raises:
            BudgetExceededError: A budget does not cover the call at the highest price so far, even after the calls in
                flight have released the credits that they reserved in excess.

        """
        while True:
            await self._wait_for_budgets()
            try:
                await self._reserve_shared()
            except BudgetExceededError:
                reserved, least = self._reserved, self._reserved - self._margin
                self._settle()
                if reserved <= least and not self._can_wait(least):
                    raise
                self._most = max(least, reserved // 2)
            else:
                return

    def _can_wait(self, least: int) -> bool:
        """Return True if calls of this process hold the shared credits that a pool has refused."""
        pools = [(budget, budget.shared) for budget in self._budgets if budget.shared is not None]
        return any(budget._unpriced and pool.credits_left < least for budget, pool in pools)

    async def _wait_for_budgets(self) -> None:
        """Reserve the credits in all budgets, behind the calls that wait already."""
        event, queue = asyncio.Event(), None
        try:
            while (blocking := self._reserve_locally(queue)) is not None:
                if blocking is not queue:
                    _leave(queue, event)
                    queue = blocking
                    queue._waiting.append(event)
                event.clear()
                await event.wait()
        finally:
            _leave(queue, event)

    def _reserve_locally(self, queue: Budget | None) -> Budget | None:
        """Reserve the credits, or return a budget in which calls in flight must end first.

        Args:
            queue: The budget whose queue contains the call, if any.

        """
        self._learn_price()
        items, price = self._items, self._price
        least, most = price.least(items), price.most(items)
        if self._most is not None:
            most = max(least, min(most, self._most))
        if least:
            if not price.is_known and any(budget._has_unpriced_losses for budget in self._budgets):
                least = price.most(items)
            for budget in self._budgets:
                _check_credits(budget, least, self._context)
                if _must_wait(budget, most, price) or (queue is None and budget._waiting):
                    return budget
            limits = [limit for budget in self._budgets if (limit := budget.credits_left) is not None]
            most = max(least, min([most, *limits]))
        self._reserved = most
        self._lost = min(self._reserved, price.of_lost_response(items))
        self._margin, self._unpriced = self._reserved - least, 0 if price.is_published else 1
        for budget in self._budgets:
            budget.reserved += self._reserved
            budget._margin += self._margin
            budget._unpriced += self._unpriced
        self._is_reserved = True
        return None

    async def _reserve_shared(self) -> None:
        self._pid = os.getpid()
        for pool in shared_pools(self._budgets):
            await pool.reserve(self._reserved, self._context)
            self._shared_reservations.append(pool)

    def _settle(self) -> None:
        """Replace the reservation with the credits that were charged, or may have been."""
        if not self._is_reserved:
            return
        self._is_reserved = False
        for budget in self._budgets:
            budget.reserved -= self._reserved
            budget._margin -= self._margin
            budget._unpriced -= self._unpriced
            budget._has_unpriced_losses |= self._has_losses and not self._price.is_known
            budget.credits += self._spent
            _wake_first(budget)
        if not self._reserved and self._spent:  # a free call reserves nothing, but the server has charged it
            for pool in shared_pools(self._budgets):
                pool.settle(0, self._spent)
        while self._shared_reservations:
            pool = self._shared_reservations.pop()
            if self._pid == os.getpid():  # after a fork, the copy of the call in the child has reserved nothing
                pool.settle(self._reserved, self._spent)

    def check_request(self, context: ErrorContext) -> None:
        """Raise BudgetExceededError if no further request is allowed."""
        for budget in self._budgets:
            _check_request(budget, context)

    def consume_request(self, context: ErrorContext) -> None:
        """Count a request that is about to be sent, or raise BudgetExceededError if it is not allowed."""
        self.check_request(context)
        for budget in self._budgets:
            budget.requests += 1

    def record_attempt(self, charged: int | None, *, is_successful: bool, may_have_charged: bool) -> None:
        """Count the credits of an attempt that has ended, and let the budgets know the price.

        Args:
            charged: The credits that its response reports as charged, or None. A negative number counts as zero, so
                that a refund cannot raise the limit.
            is_successful: True if the attempt succeeded. A response that reports no charge counts like a lost one, or
                as the lowest possible charge if the price is published or the operation may be free.
            may_have_charged: The attempt may have been sent and was not rejected, so it may have charged.

        """
        if charged is not None:
            self._spent += max(0, charged)
            for budget in self._budgets:
                budget._prices.setdefault(self._context.operation, replace(self._price)).learn(self._price)
        elif is_successful and (self._price.is_published or self._price.may_be_free):
            self._spent += self._reserved - self._margin
        elif is_successful:
            self._spent += self._lost
        elif may_have_charged:
            self._spent += self._lost
            self._has_losses = True


def _must_wait(budget: Budget, most: int, price: Price) -> bool:
    """Return True if calls in flight must end before a call can reserve the most that it can charge."""
    left = budget.credits_left
    if left is None or not budget._unpriced:
        return False
    return left < most or not price.is_known


def _leave(budget: Budget | None, event: asyncio.Event) -> None:
    """Take a call out of a queue, and let the next one check whether it can reserve its credits."""
    if budget is not None:
        budget._waiting.remove(event)
        _wake_first(budget)


def _wake_first(budget: Budget) -> None:
    if budget._waiting:
        budget._waiting[0].set()


def _check_request(budget: Budget, context: ErrorContext) -> None:
    if budget.max_requests is not None and budget.requests >= budget.max_requests:
        raise BudgetExceededError(
            f"The budget of {budget.max_requests:,} requests is used up.",
            context,
            hint="Raise max_requests, or continue later.",
        )


def _count_credits(number: int) -> str:
    return "1 credit" if number == 1 else f"{number:,} credits"


def _check_credits(budget: Budget, needed: int, context: ErrorContext) -> None:
    spent, limit = budget.credits + budget.reserved - budget._margin, budget.max_credits
    if limit is not None and needed and spent + needed > limit:
        raise BudgetExceededError(
            f"This call may charge {_count_credits(needed)}, and {max(0, limit - spent):,} of {limit:,} are left.",
            context,
            hint="Raise max_credits, or request fewer records at once.",
        )


class _ActiveBudget(msgspec.Struct, eq=False):
    """A budget whose ``async with`` block was entered."""

    client: object
    budget: Budget
    is_counted: bool
    """True if it limited credits when its block was entered, so that the client counts it."""
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


class CountsBudgets(Protocol):
    """The client that a block of a budget belongs to."""

    open_budgets: int


class BudgetScope:
    """Apply a budget to the calls of one client inside an ``async with`` block and in the tasks it starts.

    A task that outlives the block stays under the budget. If the block ends in a different context, which can happen in
    an unfinished async generator, the budget ends for all contexts.
    """

    def __init__(self, client: CountsBudgets, budget: Budget) -> None:
        self._client = client
        self._budget = budget
        self._entered = list[tuple[_ActiveBudget, Token[tuple[_ActiveBudget, ...]]]]()

    async def __aenter__(self) -> Budget:
        limits_credits = self._budget.max_credits is not None or self._budget.shared is not None
        entry = _ActiveBudget(self._client, self._budget, limits_credits)
        self._client.open_budgets += entry.is_counted
        self._entered.append((entry, ACTIVE_BUDGETS.set((*_active_entries(), entry))))
        return self._budget

    async def __aexit__(self, *_: object) -> None:
        entry, token = self._entered.pop(self._last_entered_here())
        self._client.open_budgets -= entry.is_counted
        remaining = tuple(other for other in _active_entries() if other is not entry)
        try:
            ACTIVE_BUDGETS.reset(token)
        except ValueError:  # the block was entered in another context, which cannot be changed from here
            entry.ended = True
        ACTIVE_BUDGETS.set(remaining)  # the blocks of generators end in any order, so the token's value may be outdated

    def _last_entered_here(self) -> int:
        here = ACTIVE_BUDGETS.get()
        return max((index for index, (entry, _) in enumerate(self._entered) if entry in here), default=-1)
