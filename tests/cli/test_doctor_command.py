"""``leadfeeder doctor``: failures, their exit codes and skipped checks."""

from __future__ import annotations

import pytest

from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import json_lines, leadfeeder


async def test_rejected_key(quarter: Sandbox) -> None:
    """A rejected key fails one check, skips the checks that need it, and is not printed."""
    code, stdout, _ = await leadfeeder(quarter, "doctor", "--json", LEADFEEDER_API_KEY="canary-1234567890")
    results = {result["check"]: result for result in json_lines(stdout)}
    assert (code, results["key"]["status"], results["visits"]["status"]) == (3, "fail", "skip")
    assert results["key"]["hint"]
    assert results["visits"]["message"] == "skipped, because the key check failed"
    assert results["clock"]["status"] == "ok"
    assert "canary" not in stdout


async def test_missing_key() -> None:
    """Without a key, the exit code is 3."""
    code, stdout, stderr = await leadfeeder(None, "doctor", "--json")
    assert (code, json_lines(stdout)[-1]["check"], stderr) == (3, "key", "1 failure, 0 warnings.\n")


async def test_several_accounts() -> None:
    """If the key has several accounts and none is selected, the hint names the variable to set."""
    async with Sandbox(companies=5, visits=9, accounts=2, rate_limit=False) as sandbox:
        code, stdout, _ = await leadfeeder(sandbox, "doctor", "--json", LEADFEEDER_ACCOUNT_ID="")
    assert (code, "LEADFEEDER_ACCOUNT_ID" in stdout) == (2, True)


async def test_no_credits_and_no_permission() -> None:
    """Each failure is reported, and the exit code is the one of the first failure."""
    async with Sandbox(companies=5, visits=9, credits=0, not_entitled=["get_usage"], rate_limit=False) as sandbox:
        code, stdout, _ = await leadfeeder(sandbox, "doctor", "--json")
    results = {result["check"]: result["status"] for result in json_lines(stdout)}
    assert (code, results["credits"], results["requests"], results["visits"]) == (4, "fail", "fail", "ok")


async def test_unreachable_server(quarter: Sandbox) -> None:
    """A server that cannot be reached fails the connection check."""
    environment = quarter.environment | {"LEADFEEDER_BASE_URL": "http://127.0.0.1:9"}
    code, stdout, _ = await leadfeeder(None, "doctor", "--json", **environment)
    assert (code, json_lines(stdout)[2]["check"], json_lines(stdout)[2]["status"]) == (5, "connection", "fail")


@pytest.mark.parametrize("address", ["http://example.invalid", "ftp://example.invalid", "https://example.invalid/v1"])
async def test_invalid_base_url(address: str) -> None:
    """An invalid base URL fails the address check."""
    code, stdout, _ = await leadfeeder(None, "doctor", "--json", LEADFEEDER_BASE_URL=address)
    assert (code, json_lines(stdout)[-1]["check"], json_lines(stdout)[-1]["status"]) == (2, "address", "fail")
