"""The checks of ``leadfeeder doctor``."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from leadfeeder_async._version import __version__
from leadfeeder_async.cli.error_options import name_options, option_hint
from leadfeeder_async.cli.exit_codes import ExitCode, exit_code
from leadfeeder_async.cli.record_tables import format_value
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import (
    AttemptTimeoutError,
    AuthenticationError,
    ConnectError,
    LeadfeederError,
    PermissionDeniedError,
    TLSError,
    may_concern_one_account,
)
from leadfeeder_async.models.accounts import AccountSummary
from leadfeeder_async.pagination.date_range import utc_today
from leadfeeder_async.settings import DEFAULT_MONTHLY_QUOTA, read_account_id

if TYPE_CHECKING:
    import aiohttp

Status: TypeAlias = Literal["ok", "warn", "fail", "skip"]

MAX_CLOCK_DIFFERENCE = 60
"""A larger difference from the server's clock, in seconds, can affect dates and certificates."""

LOW_CREDITS = 0.1
"""Warn if less than this part of the credits is left."""

HIGH_USAGE = 0.8
"""Warn if more than this part of the monthly quota is used."""


class CheckResult(msgspec.Struct, frozen=True):
    """The result of a check."""

    check: str
    status: Status
    message: str
    hint: str | None = None
    exit_code: ExitCode = ExitCode.SUCCESS
    """The exit code of the command if this is the first failure."""
    error: LeadfeederError | None = None
    """The error that made the check fail."""

    @classmethod
    def of_error(cls, check: str, error: LeadfeederError, code: ExitCode | None = None) -> CheckResult:
        """Return the result of a check that failed with an error."""
        hint = " ".join(filter(None, (name_options(error.hint or ""), option_hint(error))))
        return cls(check, "fail", _message(error), hint or None, code or exit_code(error), error)


Check: TypeAlias = Callable[[], Awaitable[CheckResult]]


def check_versions() -> CheckResult:
    """Return the versions of the package, of Python and of the main dependencies."""
    from importlib.metadata import version

    parts = [f"leadfeeder-async {__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {version(name)}" for name in ("aiohttp", "msgspec")]
    return CheckResult("versions", "ok", f"{', '.join(parts)} on {platform.system()}")


def found_paths(paths: Mapping[str, str]) -> CheckResult:
    """Return a warning about operations that have another path than this package assumes."""
    listed = ", ".join(f"{operation}: {path}" for operation, path in paths.items())
    hint = f"Pass paths={dict(paths)!r} to the client, so that it does not try other paths first."
    return CheckResult("paths", "warn", listed, hint)


class HealthCheck:
    """The checks that send requests. They share the account and the cause of the first failure."""

    def __init__(self, lf: AsyncLeadfeeder, account_id: str | None) -> None:
        self._lf = lf
        self._wanted_account = read_account_id(account_id)
        self._has_valid_key = False
        self._failed_prerequisite: str | None = None
        """The failed check that makes the following ones pointless."""

    @property
    def account_id(self) -> str | None:
        """The account that the checks use, once it is known."""
        return self._lf.account_id

    def checks(self) -> Iterator[tuple[str, Check]]:
        """Yield the checks in order, each with its name."""
        yield "key", self.check_key
        yield "account", self.check_account
        yield "credits", self.check_credits
        yield "requests", self.check_requests
        yield "tracker", self.check_tracker
        yield "visits", self.check_visits

    async def run(self, name: str, check: Check) -> CheckResult:
        """Run a check, and turn errors into results."""
        if self._failed_prerequisite is not None:
            return CheckResult(name, "skip", f"skipped, because the {self._failed_prerequisite} check failed")
        try:
            return await check()
        except (ConnectError, TLSError, AttemptTimeoutError) as error:
            self._failed_prerequisite = "connection"
            return CheckResult.of_error("connection", error)
        except AuthenticationError as error:
            if self._has_valid_key and may_concern_one_account(error):
                hint = "Check that the key has the permission for this, and access to the account."
                return msgspec.structs.replace(CheckResult.of_error(name, error), hint=hint)
            self._failed_prerequisite = "key"
            return CheckResult.of_error("key", error)
        except LeadfeederError as error:
            return CheckResult.of_error(name, error)

    async def check_key(self) -> CheckResult:
        """Check whether the server accepts the key. A key without the permission to read its user is a warning."""
        try:
            user = (await self._lf.users.me()).data.attributes
            self._has_valid_key = True
        except PermissionDeniedError as error:
            return CheckResult("key", "warn", f"valid, but cannot read its user: {_message(error)}", error.hint)
        role = f" ({format_value(user.team_role)})" if user.team_role else ""
        return CheckResult("key", "ok", f"valid, belongs to {format_value(user.email) or 'a user without email'}{role}")

    async def check_account(self) -> CheckResult:
        """Determine the account, and use it for the following checks."""
        self._failed_prerequisite = "account" if self._wanted_account is None else None
        accounts = (await self._lf.accounts.list()).data
        result, account_id = choose_account(accounts, self._wanted_account)
        self._failed_prerequisite = "account" if account_id is None else None
        self._lf = self._lf.with_options(account_id=account_id)
        return result

    async def check_credits(self) -> CheckResult:
        """Check the balance of credits."""
        balance = (await self._lf.accounts.get()).data.credits
        if balance is None or balance.remaining is None:
            message = "the server did not return the balance"
            return CheckResult("credits", "warn", message, "Look at the balance in Leadfeeder.")
        total = "" if balance.available is None else f" of {balance.available:,}"
        reset = f", next reset on {balance.next_reset_on}" if balance.next_reset_on else ""
        message = f"{balance.remaining:,}{total} left{reset}"
        if balance.remaining <= 0:
            hint = "Buy credits or wait for the reset. Free commands still work."
            return CheckResult("credits", "fail", message, hint, ExitCode.EXHAUSTED)
        if balance.available and balance.remaining < LOW_CREDITS * balance.available:
            return CheckResult("credits", "warn", message, "Limit jobs with --max-credits.")
        return CheckResult("credits", "ok", message)

    async def check_requests(self) -> CheckResult:
        """Check the requests of this month against the monthly quota."""
        month = f"{utc_today():%Y-%m}"
        rows = (await self._lf.usage.get(start_period=month, end_period=month)).data
        return quota_result(sum(row.attributes.requests or 0 for row in rows), DEFAULT_MONTHLY_QUOTA)

    async def check_tracker(self) -> CheckResult:
        """Check whether the tracker on the website is active."""
        status = (await self._lf.web_visits.tracker_script()).data.status
        if status == "active":
            return CheckResult("tracker", "ok", "active")
        message = f"status {format_value(status)!r}" if status else "the server did not return a status"
        return CheckResult("tracker", "warn", message, "Add the tracker script to every page of the website.")

    async def check_visits(self) -> CheckResult:
        """Count the visits of the last seven days, including today."""
        today = utc_today()
        count = await self._lf.web_visits.search(start_date=today - timedelta(6), end_date=today).count()
        if count is not None and count > 0:
            return CheckResult("visits", "ok", f"{count:,} in the last 7 days")
        message = "none in the last 7 days" if count == 0 else "the server did not return a valid count"
        hint = "Check that the tracker runs on the website, and that this is the right account."
        return CheckResult("visits", "warn", message, hint)


def choose_account(accounts: Sequence[AccountSummary], wanted: str | None) -> tuple[CheckResult, str | None]:
    """Return the result of the account check, and the id of the account or None."""
    names = {account.id: f"{account.id} ({format_value(account.name)})" for account in accounts}
    hint = f"Set LEADFEEDER_ACCOUNT_ID to one of: {', '.join(names.values())}."
    if not accounts:
        message, hint = "the key has no account", "Ask an administrator of the account for access."
        return CheckResult("account", "fail", message, hint, ExitCode.ACCESS), None
    if wanted is None and len(accounts) > 1:
        message = f"the key has {len(accounts)} accounts, and none is selected"
        return CheckResult("account", "fail", message, hint, ExitCode.USAGE), None
    account_id = wanted or accounts[0].id
    if account_id not in names:
        message = f"the key has no account {format_value(account_id)}"
        return CheckResult("account", "fail", message, hint, ExitCode.ACCESS), None
    count = f"one of {len(accounts)} accounts" if len(accounts) > 1 else "the key's only account"
    return CheckResult("account", "ok", f"{names[account_id]}, {count}"), account_id


def quota_result(used: int, quota: int) -> CheckResult:
    """Return the result of the quota check."""
    message = f"{used:,} of {quota:,} this month ({used / quota:.1%})"
    hint = "`leadfeeder usage` shows the requests by endpoint."
    if used >= quota:
        return CheckResult("requests", "fail", message, f"Wait for the next month. {hint}", ExitCode.EXHAUSTED)
    if used >= HIGH_USAGE * quota:
        return CheckResult("requests", "warn", message, hint)
    return CheckResult("requests", "ok", message)


class ClockCheck:
    """Compares this machine's clock with the ``Date`` header of the last response."""

    def __init__(self) -> None:
        self._difference: timedelta | None = None

    def trace_config(self) -> aiohttp.TraceConfig:
        """Return the trace configuration that passes each response to this check."""
        import aiohttp

        async def read_date(_: aiohttp.ClientSession, __: object, params: aiohttp.TraceRequestEndParams) -> None:
            try:
                self._difference = datetime.now(UTC) - parsedate_to_datetime(params.response.headers["Date"])
            except (KeyError, ValueError, TypeError, OverflowError, IndexError):  # not a date
                return

        config = aiohttp.TraceConfig()
        config.on_request_end.append(read_date)
        return config

    def result(self) -> CheckResult:
        """Return the result of the check."""
        if self._difference is None:
            return CheckResult("clock", "skip", "skipped, because no response had a date")
        seconds = round(self._difference.total_seconds())
        if abs(seconds) <= MAX_CLOCK_DIFFERENCE:
            return CheckResult("clock", "ok", "matches the server's clock")
        message = f"{abs(seconds):,} s {'ahead of' if seconds > 0 else 'behind'} the server's clock"
        return CheckResult("clock", "warn", message, "Correct this clock. Dates such as `today` depend on it.")


def _message(error: LeadfeederError) -> str:
    request_id = f" (request id {error.request_id})" if error.request_id else ""
    return f"{error.message}{request_id}"
