"""``leadfeeder doctor``: check the setup."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leadfeeder_async._proxies import proxy_from_environment
from leadfeeder_async.cli.exit_codes import ExitCode
from leadfeeder_async.cli.health_checks import CheckResult, ClockCheck, HealthCheck, Status, check_versions, found_paths
from leadfeeder_async.cli.options import AccountId, JsonLines
from leadfeeder_async.cli.printing import pluralize, print_err, print_out
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import ConfigurationError, LeadfeederError, escape_control_characters
from leadfeeder_async.settings import read_base_url, read_switch

if TYPE_CHECKING:
    from leadfeeder_async.cli.bug_report import Recorder

Bundle = Annotated[
    Path | None, Parameter(help="Also write a report without personal data to this file, for a bug report.")
]

TIMEOUT = 15.0
"""Seconds per attempt."""

_SYMBOLS = {"ok": ("✓", "+"), "warn": ("!", "!"), "fail": ("✗", "x"), "skip": ("·", "-")}
"""The symbol of each status, and one for terminals without Unicode."""

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


async def doctor(*, account_id: AccountId = None, json: JsonLines = False, bundle: Bundle = None) -> ExitCode:
    """Check the key, account, credits, quota, tracker, visits and clock.

    Each check is ok, warn, fail or skip, and includes a hint if necessary. The exit code is 0, or the code of the first
    failure. Sends 6 requests, or about 25 with --bundle.

    Credits: none.
    """
    from leadfeeder_async.cli.bug_report import Recorder, check_target, write_bug_report

    recorder = None if bundle is None else Recorder()
    if bundle is not None:
        check_target(bundle)
    show = _print_json if json else _print_row if sys.stdout.isatty() else _print_line
    results = list[CheckResult]()
    async with aclosing(_run_checks(account_id, recorder)) as checks:
        async for result in checks:
            results.append(result)
            show(result)
    print_err(_summary(results))
    if bundle is not None and recorder is not None:
        write_bug_report(bundle, recorder.report(results))
        print_err(f"Attach {bundle} to your bug report. It contains no credentials and no data of the account.")
    return next((result.exit_code for result in results if result.status == "fail"), ExitCode.SUCCESS)


async def _run_checks(account_id: str | None, recorder: Recorder | None) -> AsyncGenerator[CheckResult, None]:
    yield check_versions()
    try:
        base_url = read_base_url(None)
        proxy = proxy_from_environment(base_url) if read_switch("trust_env", None) else None
    except ConfigurationError as error:
        yield CheckResult.of_error("address", error)
        return
    yield CheckResult("address", "ok", f"{base_url} through {proxy.url} ({proxy.variable})" if proxy else base_url)
    clock = ClockCheck()
    try:
        on_attempt = None if recorder is None else recorder.attempts.append
        traces = [clock.trace_config()]
        lf = AsyncLeadfeeder(timeout=TIMEOUT, retries=1, trace_configs=traces, on_attempt=on_attempt)
    except ConfigurationError as error:
        yield CheckResult.of_error("key", error, ExitCode.ACCESS)
        return
    async with lf:
        health = HealthCheck(lf, account_id)
        for name, check in health.checks():
            yield await health.run(name, check)
        if recorder is not None:
            await _probe(lf.with_options(account_id=health.account_id), recorder)
        if lf.paths:
            yield found_paths(lf.paths)
    yield clock.result()


async def _probe(lf: AsyncLeadfeeder, recorder: Recorder) -> None:
    """Try the inferred paths for the report, as far as the API can be reached."""
    from leadfeeder_async.cli.bug_report import ReportedProbe
    from leadfeeder_async.cli.contract_probe import probe_paths

    with suppress(LeadfeederError):
        async with aclosing(probe_paths(lf)) as probes:
            async for probe in probes:
                reported = ReportedProbe(operation=probe.operation, status=probe.status, path=probe.path)
                recorder.probes.append(reported)
    recorder.health = lf.health()


def _print_json(result: CheckResult) -> None:
    line = {"check": result.check, "status": result.status, "message": result.message, "hint": result.hint}
    print_out(msgspec.json.encode(line).decode())


def _print_line(result: CheckResult) -> None:
    line = f"{result.status:4}  {result.check:10}  {' '.join(filter(None, (result.message, result.hint)))}"
    print_out(escape_control_characters(line))


def _print_row(result: CheckResult) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for width in (1, 4, 10):
        grid.add_column(width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    style = _STYLES[result.status]
    symbol = Text(_symbol(result.status), style)
    grid.add_row(symbol, Text(result.status, style), Text(result.check), _text(result.message))
    if result.hint:
        grid.add_row("", "", "", _text(result.hint, "bold"))
    Console().print(grid)


def _text(text: str, style: str = "") -> Text:
    return Text(escape_control_characters(text), style)


def _symbol(status: Status) -> str:
    symbol, plain = _SYMBOLS[status]
    try:
        symbol.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return plain
    return symbol


def _summary(results: Sequence[CheckResult]) -> str:
    failures, warnings = (sum(result.status == status for result in results) for status in ("fail", "warn"))
    if not failures and not warnings:
        return "All checks passed."
    return f"{pluralize(failures, 'failure')}, {pluralize(warnings, 'warning')}."
