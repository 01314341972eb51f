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
from leadfeeder_async.cli.output import note, say_out
from leadfeeder_async.cli.tables import AccountId, JsonLines, text_of
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


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    check: str
    status: Status
    said: str
    fix: str | None = None
    exit: int = 0
    """The exit code it asks for."""


Check: TypeAlias = Callable[[], Awaitable[Finding]]


async def doctor(*, account_id: AccountId = None, json: JsonLines = False) -> int:
    """Check the key, the account, credits, the month's requests, the tracker, recent visits and the clock; free.

    Every line is ok, warn or fail, with what to do. Exits with 0 where nothing fails, and otherwise with the code of
    the first failure. Sends 7 requests.
    """
    show = _show_line if json or not sys.stdout.isatty() else _show_row
    found = list[Finding]()

    def tell(finding: Finding) -> None:
        found.append(finding)
        show(finding)

    tell(_versions())
    await _examine(account_id, tell)
    note(_verdict(found))
    return next((one.exit for one in found if one.status == "fail"), 0)


def _versions() -> Finding:
    from importlib.metadata import version

    parts = [f"leadfeeder-async {__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {version(name)}" for name in ("aiohttp", "msgspec")]
    return Finding("versions", "ok", f"{', '.join(parts)} on {platform.system()}")


async def _examine(account_id: str | None, tell: Callable[[Finding], None]) -> None:
    """Run the checks; where one fails that others need, say so instead of failing each for the same reason."""
    clock = Clock()
    lacking, code = "address", USAGE
    try:
        tell(Finding("address", "ok", read_base_url(None)))
        lacking, code = "key", AUTH
        lf = AsyncLeadfeeder(timeout=PATIENCE, retries=1, trace_configs=[clock.trace()])
    except ConfigurationError as error:
        tell(Finding(lacking, "fail", error.message, error.advice or None, code))
        return
    async with lf:
        examination = Examination(lf, account_id)
        for name, check in examination.checks():
            tell(await examination.run(name, check))
        tell(clock.judge())


def _failed(name: str, error: LeadfeederError) -> Finding:
    return Finding(name, "fail", _what(error), error.advice or None, exit_code(error))


def _what(error: LeadfeederError) -> str:
    request = f" (request id {error.request_id})" if error.request_id else ""
    return f"{error.message}{request}"


class Examination:
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

    async def run(self, name: str, check: Check) -> Finding:
        """Make one check, whatever happened to those before it."""
        if self._ended_by is not None:
            return Finding(name, "skip", f"not checked, because of the {self._ended_by}")
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

    async def key(self) -> Finding:
        """Ask whose key it is; one that may not even ask that can still be good for the rest."""
        try:
            user = (await self._lf.users.me()).data.attributes
        except PermissionDeniedError as error:
            return Finding("key", "warn", f"valid, but may not ask whose it is: {_what(error)}", error.advice)
        role = f" ({text_of(user.team_role)})" if user.team_role else ""
        return Finding("key", "ok", f"works; it belongs to {text_of(user.email) or 'a user without address'}{role}")

    async def account(self) -> Finding:
        """Find the account that calls will use, and use it for the checks to come."""
        self._ended_by = "account" if self._asked_for is None else None
        known = (await self._lf.accounts.list()).data
        finding, chosen = choose_account(known, self._asked_for)
        self._ended_by = "account" if chosen is None else None
        self._lf = self._lf.with_options(account_id=chosen)
        return finding

    async def credits(self) -> Finding:
        """Look at the balance."""
        balance = (await self._lf.accounts.get()).data.credits
        if balance is None or balance.remaining is None:
            return Finding("credits", "warn", "the server does not tell", "Look at Leadfeeder's settings.")
        reset = f"; next reset on {balance.next_reset_on}" if balance.next_reset_on else ""
        total = f" of {balance.available:,}" if balance.available is not None else ""
        said = f"{balance.remaining:,}{total} left{reset}"
        if balance.remaining <= 0:
            return Finding("credits", "fail", said, "Buy credits or wait for the reset; free calls still work.", SPENT)
        if balance.available and balance.remaining < 0.1 * balance.available:
            return Finding("credits", "warn", said, "Less than a tenth is left: cap jobs with --max-credits.")
        return Finding("credits", "ok", said)

    async def requests(self) -> Finding:
        """Look at this month's requests."""
        month = f"{datetime.now(UTC):%Y-%m}"
        used = (await self._lf.usage.get(start_period=month, end_period=month)).data
        return judge_requests(sum(row.attributes.requests or 0 for row in used), DEFAULT_MONTHLY_QUOTA)

    async def tracker(self) -> Finding:
        """Look whether the tracker runs on the website."""
        status = (await self._lf.web_visits.tracker_script()).data.status
        if status == "active":
            return Finding("tracker", "ok", "active")
        said = f"its status is {text_of(status)!r}" if status else "the server does not tell its status"
        return Finding("tracker", "warn", said, "Put the tracker script on every page of the website, and look again.")

    async def visits(self) -> Finding:
        """Count the visits of the last seven days, today included."""
        today = datetime.now(UTC).date()
        found = await self._lf.web_visits.search(start_date=today - timedelta(6), end_date=today).count()
        if found:
            return Finding("visits", "ok", f"{found:,} in the last 7 days")
        said = "none in the last 7 days" if found == 0 else "the server does not count them"
        return Finding("visits", "warn", said, "Check that the tracker runs on the website and the account is right.")


def choose_account(known: Sequence[AccountSummary], wanted: str | None) -> tuple[Finding, str | None]:
    """Tell which account calls use, and whether that is clear."""
    names = {one.id: f"{one.id} ({text_of(one.name)})" for one in known}
    choices = f"Set LEADFEEDER_ACCOUNT_ID to one of: {', '.join(names.values())}."
    if not known:
        return Finding(
            "account", "fail", "the key has no account", "Ask an admin of the account for access.", AUTH
        ), None
    if wanted is None and len(known) > 1:
        return Finding("account", "fail", f"the key has {len(known)}, and none is chosen", choices, USAGE), None
    chosen = wanted or known[0].id
    if chosen not in names:
        return Finding("account", "fail", f"the key has no account {text_of(chosen)}", choices, AUTH), None
    others = f", one of {len(known)}" if len(known) > 1 else ", the only one"
    return Finding("account", "ok", f"{names[chosen]}{others}"), chosen


def judge_requests(used: int, quota: int) -> Finding:
    """Hold the month's requests against the quota."""
    said = f"{used:,} of {quota:,} this month ({used / quota:.1%})"
    if used >= quota:
        return Finding(
            "requests", "fail", said, "Wait for the next month; `leadfeeder usage` shows what took them.", SPENT
        )
    if used >= 0.8 * quota:
        return Finding("requests", "warn", said, "`leadfeeder usage` shows what took them.")
    return Finding("requests", "ok", said)


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

    def judge(self) -> Finding:
        """Tell how far the clocks are apart."""
        if self._skew is None:
            return Finding("clock", "skip", "no answer told the time")
        seconds = round(self._skew.total_seconds())
        if abs(seconds) <= SKEW:
            return Finding("clock", "ok", "agrees with the server's")
        said = f"{abs(seconds):,} s {'ahead of' if seconds > 0 else 'behind'} the server's"
        return Finding("clock", "warn", said, "Set this machine's clock: days are counted by it.")


def _show_line(finding: Finding) -> None:
    line = {"check": finding.check, "status": finding.status, "said": finding.said, "fix": finding.fix}
    say_out(msgspec.json.encode(line).decode())


_MARKS = {"ok": ("✓", "+"), "warn": ("!", "!"), "fail": ("✗", "x"), "skip": ("·", "-")}
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


def _show_row(finding: Finding) -> None:
    """Show a finding: what it found, and under it what to do."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for width in (1, 4, 8):
        grid.add_column(width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    style = _STYLES[finding.status]
    mark = Text(_mark(finding.status), style)
    grid.add_row(mark, Text(finding.status, style), Text(finding.check), Text(finding.said))
    if finding.fix:
        grid.add_row("", "", "", Text(finding.fix, "bold"))
    Console().print(grid)


def _mark(status: Status) -> str:
    """Return a status's sign, or plain ASCII where the terminal cannot show it."""
    sign, plain = _MARKS[status]
    try:
        sign.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return plain
    return sign


def _verdict(found: Sequence[Finding]) -> str:
    fails, warnings = (sum(one.status == status for one in found) for status in ("fail", "warn"))
    if not fails and not warnings:
        return "Everything is in place."
    return f"{fails} failed, {warnings} to look at."
