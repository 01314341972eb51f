"""``leadfeeder doctor``: failures, their exit codes and skipped checks."""

from __future__ import annotations

import pytest

from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import ids, json_lines, leadfeeder
from tests.support.servers import http, raw_server


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


async def test_proxy_of_the_environment() -> None:
    """The command sends its requests through the proxy of the environment, and doctor shows it without its password."""
    body = b'{"data": [{"id": "310042", "type": "account", "attributes": {"name": "Seller"}}]}'
    async with raw_server(http(body)) as proxy:
        environment = {
            "LEADFEEDER_API_KEY": "k", "LEADFEEDER_BASE_URL": "http://127.0.0.1:9", "NO_PROXY": "", "no_proxy": "",
            "http_proxy": "", "HTTP_PROXY": proxy.url.replace("://", "://someone:pa55@"),
        }  # fmt: skip
        code, stdout, _ = await leadfeeder(None, "accounts", **environment)
        assert (code, ids(stdout)) == (0, ["310042"])
        assert proxy.requests[0].startswith(b"GET http://127.0.0.1:9/v1/accounts")
        _, stdout, _ = await leadfeeder(None, "doctor", **environment)
        assert f"http://127.0.0.1:9 through {proxy.url} (HTTP_PROXY)" in stdout
        assert "pa55" not in stdout
        sent = len(proxy.requests)
        code, _, _ = await leadfeeder(None, "accounts", **environment, LEADFEEDER_TRUST_ENV="0")
        assert (code, len(proxy.requests)) == (5, sent)


async def test_unusable_proxy() -> None:
    """A proxy that cannot be used fails the address check, and nothing is sent."""
    code, stdout, _ = await leadfeeder(None, "doctor", "--json", LEADFEEDER_API_KEY="k", https_proxy="socks5://p:1")
    assert (code, json_lines(stdout)[-1]["check"], json_lines(stdout)[-1]["status"]) == (2, "address", "fail")
