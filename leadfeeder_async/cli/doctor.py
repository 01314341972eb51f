"""``leadfeeder doctor``: is everything in place, and if not, what to do."""

from __future__ import annotations

import platform
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leadfeeder_async._version import __version__
from leadfeeder_async.cli import AUTH, SPENT, USAGE, exit_code
from leadfeeder_async.cli.record_tables import AccountId, JsonLines, text_of
from leadfeeder_async.cli.terminal import print_note, print_out
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import (
    AttemptTimeoutError,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    LeadfeederError,
    PermissionDeniedError,
    TLSError,
)
from leadfeeder_async.models.accounts import AccountSummary
from leadfeeder_async.settings import DEFAULT_MONTHLY_QUOTA, read_account_id, read_base_url

if TYPE_CHECKING:
    import aiohttp

Status: TypeAlias = Literal["ok", "warn", "fail", "skip"]

SKEW = 60
"""Seconds between this clock and the server's from which on days and certificates begin to go wrong."""

PATIENCE = 15.0
"""Seconds for each attempt."""


class CheckResult(msgspec.Struct, frozen=True):
    """What one check found."""

    check: str
    status: Status
    message: str
    hint: str | None = None
    exit: int = 0
    """The exit code it asks for."""


Check: TypeAlias = Callable[[], Awaitable[CheckResult]]


async def doctor(*, account_id: AccountId = None, json: JsonLines = False) -> int:
    """Check the key, the account, credits, the month's requests, the tracker, recent visits and the clock; free.

    Every line is ok, warn or fail, with what to do. Exits with 0 where nothing fails, and otherwise with the code of
    the first failure. Sends 7 requests.
    """
    show = _show_line if json or not sys.stdout.isatty() else _show_row
    found = list[CheckResult]()

    def tell(finding: CheckResult) -> None:
        found.append(finding)
        show(finding)

    tell(_versions())
    await _examine(account_id, tell)
    print_note(_summary(found))
    return next((one.exit for one in found if one.status == "fail"), 0)


def _versions() -> CheckResult:
    from importlib.metadata import version

    parts = [f"leadfeeder-async {__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {version(name)}" for name in ("aiohttp", "msgspec")]
    return CheckResult("versions", "ok", f"{', '.join(parts)} on {platform.system()}")


async def _examine(account_id: str | None, tell: Callable[[CheckResult], None]) -> None:
    """Run the checks; where one fails that others need, say so instead of failing each for the same reason."""
    clock = Clock()
    lacking, code = "address", USAGE
    try:
        tell(CheckResult("address", "ok", read_base_url(None)))
        lacking, code = "key", AUTH
        lf = AsyncLeadfeeder(timeout=PATIENCE, retries=1, trace_configs=[clock.trace()])
    except ConfigurationError as error:
        tell(CheckResult(lacking, "fail", error.message, error.hint or None, code))
        return
    async with lf:
        examination = HealthCheck(lf, account_id)
        for name, check in examination.checks():
            tell(await examination.run(name, check))
        tell(clock.judge())


def _failed(name: str, error: LeadfeederError) -> CheckResult:
    return CheckResult(name, "fail", _what(error), error.hint or None, exit_code(error))


def _what(error: LeadfeederError) -> str:
    request = f" (request id {error.request_id})" if error.request_id else ""
    return f"{error.message}{request}"


class HealthCheck:
    """The checks that ask the API, and what they learn for each other."""

    def __init__(self, lf: AsyncLeadfeeder, account_id: str | None) -> None:
        self._lf = lf
        self._asked_for = read_account_id(account_id)
        self._ended_by: str | None = None
        """The check without which the others would only fail for the same reason."""

    def checks(self) -> Sequence[tuple[str, Check]]:
        """Return the checks in their order, with their names."""
        return (
            ("key", self.key),
            ("account", self.account),
            ("credits", self.credits),
            ("requests", self.requests),
            ("tracker", self.tracker),
            ("visits", self.visits),
        )

    async def run(self, name: str, check: Check) -> CheckResult:
        """Make one check, whatever happened to those before it."""
        if self._ended_by is not None:
            return CheckResult(name, "skip", f"not checked, because of the {self._ended_by}")
        try:
            return await check()
        except (ConnectError, TLSError, AttemptTimeoutError) as error:
            self._ended_by = "connection"
            return _failed("connection", error)
        except AuthenticationError as error:
            self._ended_by = "key"
            return _failed("key", error)
        except LeadfeederError as error:
            return _failed(name, error)

    async def key(self) -> CheckResult:
        """Ask whose key it is; one that may not even ask that can still be good for the rest."""
        try:
            user = (await self._lf.users.me()).data.attributes
        except PermissionDeniedError as error:
            return CheckResult("key", "warn", f"valid, but may not ask whose it is: {_what(error)}", error.hint)
        role = f" ({text_of(user.team_role)})" if user.team_role else ""
        return CheckResult("key", "ok", f"works; it belongs to {text_of(user.email) or 'a user without address'}{role}")

    async def account(self) -> CheckResult:
        """Find the account that calls will use, and use it for the checks to come."""
        self._ended_by = "account" if self._asked_for is None else None
        known = (await self._lf.accounts.list()).data
        finding, chosen = choose_account(known, self._asked_for)
        self._ended_by = "account" if chosen is None else None
        self._lf = self._lf.with_options(account_id=chosen)
        return finding

    async def credits(self) -> CheckResult:
        """Look at the balance."""
        balance = (await self._lf.accounts.get()).data.credits
        if balance is None or balance.remaining is None:
            return CheckResult("credits", "warn", "the server does not tell", "Look at Leadfeeder's settings.")
        reset = f"; next reset on {balance.next_reset_on}" if balance.next_reset_on else ""
        total = f" of {balance.available:,}" if balance.available is not None else ""
        said = f"{balance.remaining:,}{total} left{reset}"
        if balance.remaining <= 0:
            return CheckResult(
                "credits", "fail", said, "Buy credits or wait for the reset; free calls still work.", SPENT
            )
        if balance.available and balance.remaining < 0.1 * balance.available:
            return CheckResult("credits", "warn", said, "Less than a tenth is left: cap jobs with --max-credits.")
        return CheckResult("credits", "ok", said)

    async def requests(self) -> CheckResult:
        """Look at this month's requests."""
        month = f"{datetime.now(UTC):%Y-%m}"
        used = (await self._lf.usage.get(start_period=month, end_period=month)).data
        return judge_requests(sum(row.attributes.requests or 0 for row in used), DEFAULT_MONTHLY_QUOTA)

    async def tracker(self) -> CheckResult:
        """Look whether the tracker runs on the website."""
        status = (await self._lf.web_visits.tracker_script()).data.status
        if status == "active":
            return CheckResult("tracker", "ok", "active")
        said = f"its status is {text_of(status)!r}" if status else "the server does not tell its status"
        return CheckResult(
            "tracker", "warn", said, "Put the tracker script on every page of the website, and look again."
        )

    async def visits(self) -> CheckResult:
        """Count the visits of the last seven days, today included."""
        today = datetime.now(UTC).date()
        found = await self._lf.web_visits.search(start_date=today - timedelta(6), end_date=today).count()
        if found:
            return CheckResult("visits", "ok", f"{found:,} in the last 7 days")
        said = "none in the last 7 days" if found == 0 else "the server does not count them"
        return CheckResult(
            "visits", "warn", said, "Check that the tracker runs on the website and the account is right."
        )


def choose_account(known: Sequence[AccountSummary], wanted: str | None) -> tuple[CheckResult, str | None]:
    """Tell which account calls use, and whether that is clear."""
    names = {one.id: f"{one.id} ({text_of(one.name)})" for one in known}
    choices = f"Set LEADFEEDER_ACCOUNT_ID to one of: {', '.join(names.values())}."
    if not known:
        return CheckResult(
            "account", "fail", "the key has no account", "Ask an admin of the account for access.", AUTH
        ), None
    if wanted is None and len(known) > 1:
        return CheckResult("account", "fail", f"the key has {len(known)}, and none is chosen", choices, USAGE), None
    chosen = wanted or known[0].id
    if chosen not in names:
        return CheckResult("account", "fail", f"the key has no account {text_of(chosen)}", choices, AUTH), None
    others = f", one of {len(known)}" if len(known) > 1 else ", the only one"
    return CheckResult("account", "ok", f"{names[chosen]}{others}"), chosen


def judge_requests(used: int, quota: int) -> CheckResult:
    """Hold the month's requests against the quota."""
    said = f"{used:,} of {quota:,} this month ({used / quota:.1%})"
    if used >= quota:
        return CheckResult(
            "requests", "fail", said, "Wait for the next month; `leadfeeder usage` shows what took them.", SPENT
        )
    if used >= 0.8 * quota:
        return CheckResult("requests", "warn", said, "`leadfeeder usage` shows what took them.")
    return CheckResult("requests", "ok", said)


class Clock:
    """How far this machine's clock is from the server's, by the Date of its answers, good or bad."""

    def __init__(self) -> None:
        self._skew: timedelta | None = None

    def trace(self) -> aiohttp.TraceConfig:
        """Return what makes aiohttp report its answers here."""
        import aiohttp

        async def note_date(_: aiohttp.ClientSession, __: object, answered: aiohttp.TraceRequestEndParams) -> None:
            try:
                self._skew = datetime.now(UTC) - parsedate_to_datetime(answered.response.headers["Date"])
            except (KeyError, ValueError, TypeError):
                return

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(note_date)
        return trace

    def judge(self) -> CheckResult:
        """Tell how far the clocks are apart."""
        if self._skew is None:
            return CheckResult("clock", "skip", "no answer told the time")
        seconds = round(self._skew.total_seconds())
        if abs(seconds) <= SKEW:
            return CheckResult("clock", "ok", "agrees with the server's")
        said = f"{abs(seconds):,} s {'ahead of' if seconds > 0 else 'behind'} the server's"
        return CheckResult("clock", "warn", said, "Set this machine's clock: days are counted by it.")


def _show_line(finding: CheckResult) -> None:
    line = {"check": finding.check, "status": finding.status, "said": finding.message, "fix": finding.hint}
    print_out(msgspec.json.encode(line).decode())


_MARKS = {"ok": ("✓", "+"), "warn": ("!", "!"), "fail": ("✗", "x"), "skip": ("·", "-")}
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


def _show_row(finding: CheckResult) -> None:
    """Show a finding: what it found, and under it what to do."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for width in (1, 4, 8):
        grid.add_column(width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    style = _STYLES[finding.status]
    mark = Text(_mark(finding.status), style)
    grid.add_row(mark, Text(finding.status, style), Text(finding.check), Text(finding.message))
    if finding.hint:
        grid.add_row("", "", "", Text(finding.hint, "bold"))
    Console().print(grid)


def _mark(status: Status) -> str:
    """Return a status's sign, or plain ASCII where the terminal cannot show it."""
    sign, plain = _MARKS[status]
    try:
        sign.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return plain
    return sign


def _summary(found: Sequence[CheckResult]) -> str:
    fails, warnings = (sum(one.status == status for one in found) for status in ("fail", "warn"))
    if not fails and not warnings:
        return "Everything is in place."
    return f"{fails} failed, {warnings} to look at."
