"""``leadfeeder doctor``: failures, their exit codes and skipped checks."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from leadfeeder_async.cli.bug_report import Recorder
from leadfeeder_async.cli.health_checks import ClockCheck, choose_account, quota_result
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import ids, json_lines, leadfeeder, leadfeeder_in_new_python
from tests.support.clients import KEY, client_for
from tests.support.requirements import is_windows
from tests.support.servers import handler_server, http, raw_server


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


async def test_account_that_the_key_does_not_have(quarter: Sandbox) -> None:
    """An account that the key does not have fails its check, and the hint names those that it has."""
    code, stdout, _ = await leadfeeder(quarter, "doctor", "--json", LEADFEEDER_ACCOUNT_ID="7")
    results = {result["check"]: result for result in json_lines(stdout)}
    assert (code, results["account"]["message"]) == (3, "the key has no account 7")
    assert quarter.account_id in results["account"]["hint"]
    assert results["credits"]["status"] == "skip"


async def test_key_without_an_account() -> None:
    """A key without any account is a failure with the exit code of a refused access."""
    result, account_id = choose_account((), None)
    assert (result.status, result.message, account_id) == ("fail", "the key has no account", None)


async def test_few_credits_left_is_a_warning() -> None:
    """Less than a tenth of the credits is a warning, and the exit code is 0."""
    async with Sandbox(companies=40, visits=90, credits=12, rate_limit=False) as sandbox:
        async with client_for(sandbox) as lf:
            companies = itertools.count(159_000_001)
            while lf.stats.credits_charged < 11:
                await lf.companies.get(str(next(companies)))
        code, stdout, _ = await leadfeeder(sandbox, "doctor", "--json")
    results = {result["check"]: result for result in json_lines(stdout)}
    assert (code, results["credits"]["status"]) == (0, "warn"), stdout
    assert results["credits"]["hint"] == "Limit jobs with --max-credits."


async def test_key_that_cannot_read_its_user() -> None:
    """A key without the permission to read its user is valid, with a warning."""
    async with Sandbox(companies=5, visits=9, not_entitled=["get_current_user"], rate_limit=False) as sandbox:
        code, stdout, _ = await leadfeeder(sandbox, "doctor", "--json")
    key = next(result for result in json_lines(stdout) if result["check"] == "key")
    assert (code, key["status"]) == (0, "warn")
    assert key["message"].startswith("valid, but cannot read its user")


@pytest.mark.parametrize(("used", "status"), [(79_999, "ok"), (80_000, "warn"), (100_000, "fail")])
def test_requests_of_the_month(used: int, status: str) -> None:
    """Four fifths of the monthly quota is a warning, and all of it a failure."""
    assert quota_result(used, 100_000).status == status


@pytest.mark.parametrize(
    ("date", "words"),
    [
        ("Sat, 01 Nov 2025 12:00:00 GMT", "ahead of"),
        ("x", "no response had"),
        ("Sat, 01 Jan 2000 00:00:00 +99999999999999999999", "no response had"),
        ("Sat, 01 Jan 2000 00:00:00 -0000", "no response had"),
        (f"Sat, {'9' * 5_000} Jan 2000 00:00:00 GMT", "no response had"),
    ],
)
async def test_clock_of_this_machine(date: str, words: str) -> None:
    """A clock that differs from the server's is a warning. A date that is not valid skips the check."""
    check = ClockCheck()
    async with raw_server(http(b"{}", headers=f"Date: {date}\r\n")) as server:
        async with aiohttp.ClientSession(trace_configs=[check.trace_config()]) as session:
            async with session.get(server.url) as response:
                await response.read()
    assert words in check.result().message


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
            "HTTP_PROXY": proxy.url.replace("://", "://someone:pa55@"),
        }  # fmt: skip
        if not is_windows:  # where the name finds the same variable
            environment["http_proxy"] = ""
        code, stdout, _ = await leadfeeder(None, "accounts", **environment)
        assert (code, ids(stdout)) == (0, ["310042"])
        assert proxy.requests[0].startswith(b"GET http://127.0.0.1:9/v1/accounts")
        _, stdout, _ = await leadfeeder(None, "doctor", **environment)
        assert f"http://127.0.0.1:9 through {proxy.url} (HTTP_PROXY)" in stdout
        assert "pa55" not in stdout
        sent = len(proxy.requests)
        code, _, _ = await leadfeeder(None, "accounts", **environment, LEADFEEDER_TRUST_ENV="0")
        assert (code, len(proxy.requests)) == (5, sent)


async def test_permission_is_not_an_invalid_key(quarter: Sandbox) -> None:
    """After the key was accepted, a missing permission fails its own check, and the others follow."""
    quarter.fail_next(403, code="access_denied", operation="list_accounts")
    _, stdout, _ = await leadfeeder(quarter, "doctor", "--json")
    checks = {check["check"]: check for check in json_lines(stdout)}
    assert (checks["key"]["status"], checks["account"]["status"]) == ("ok", "fail")
    assert "permission" in checks["account"]["hint"]
    assert checks["credits"]["status"] == "ok"


async def test_unusable_proxy() -> None:
    """A proxy that cannot be used fails the address check, and nothing is sent."""
    code, stdout, _ = await leadfeeder(None, "doctor", "--json", LEADFEEDER_API_KEY="k", https_proxy="socks5://p:1")
    assert (code, json_lines(stdout)[-1]["check"], json_lines(stdout)[-1]["status"]) == (2, "address", "fail")


async def test_bundle_contains_what_a_report_needs(quarter: Sandbox, tmp_path: Path) -> None:
    """The file has versions, settings, checks, inferred paths, attempts and the state of the client."""
    file = tmp_path / "report.json"
    code, _, stderr = await leadfeeder(quarter, "doctor", "--bundle", file, LEADFEEDER_LOG="warning")
    report = json.loads(file.read_text(encoding="utf-8"))
    assert code == 0
    assert f"Attach {file} to your bug report." in stderr
    assert report["versions"]["packages"]["aiohttp"]
    assert report["settings"]["LEADFEEDER_BASE_URL"] == quarter.url
    assert report["settings"]["LEADFEEDER_API_KEY"] == report["settings"]["LEADFEEDER_ACCOUNT_ID"] == "set"
    assert [check["check"] for check in report["checks"]][:3] == ["versions", "address", "key"]
    assert {probe["status"] for probe in report["probes"]} <= {"exists", "unknown"}
    assert len(report["probes"]) > 10
    assert len(report["attempts"]) == len(quarter.ledger.requests)
    attempt = report["attempts"][0]
    assert (attempt["operation"], attempt["path"], attempt["status"]) == ("get_current_user", "/v1/users/me", 200)
    assert attempt["request_id"] == quarter.ledger.requests[0].request_id
    assert report["health"]["ready"] is True
    assert quarter.ledger.credits_charged == 0


async def test_bundle_contains_no_data_of_the_account(quarter: Sandbox, tmp_path: Path) -> None:
    """Neither the key nor ids, names and email addresses of the account are in the file, although doctor prints them."""
    file = tmp_path / "report.json"
    _, stdout, _ = await leadfeeder(quarter, "doctor", "--bundle", file)
    shown = file.read_text(encoding="utf-8")
    personal = ("ada@seller.test", "Seller 1", quarter.account_id)
    assert all(value in stdout for value in personal)
    assert [value for value in (*personal, quarter.api_key) if value in shown] == []


async def test_bundle_without_texts_in_place_of_codes(quarter: Sandbox, tmp_path: Path) -> None:
    """A code that is a sentence is left out, because it may name records of the account."""
    file = tmp_path / "report.json"
    quarter.fail_next(
        403, code="Account 310042 of ada@seller.test may not read it", operation="list_accounts", times=50
    )
    await leadfeeder(quarter, "doctor", "--bundle", file)
    assert "may not read it" not in file.read_text(encoding="utf-8")
    file.unlink()
    quarter.fail_next(403, code="Jane_Doe_310042", operation="list_accounts", times=50)
    await leadfeeder(quarter, "doctor", "--bundle", file)
    assert "Jane" not in file.read_text(encoding="utf-8")


async def test_bundle_without_texts_in_place_of_request_ids(tmp_path: Path) -> None:
    """A request id with other characters than letters and digits is left out."""

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({"errors": []}, status=400, headers={"X-Request-Id": "jane@example.com-1"})

    file = tmp_path / "report.json"
    async with handler_server(respond) as url:
        environment = {"LEADFEEDER_API_KEY": KEY, "LEADFEEDER_BASE_URL": url, "LEADFEEDER_ACCOUNT_ID": "1"}
        await leadfeeder(None, "doctor", "--bundle", file, **environment)
    assert "jane" not in file.read_text(encoding="utf-8")


async def test_bundle_of_a_mismatch(tmp_path: Path) -> None:
    """An undecodable response is reported by its field, without its values, also if it echoes the key."""
    key, file = "canary-key-0123456789", tmp_path / "report.json"
    body = b'{"data":{"id":"u1","type":"user","attributes":{"email":{"%s":"jane@corp.test"}}}}' % key.encode()
    async with raw_server(http(body)) as server:
        environment = {"LEADFEEDER_API_KEY": key, "LEADFEEDER_BASE_URL": server.url}
        code, stdout, _ = await leadfeeder(None, "doctor", "--bundle", file, **environment)
    (check,) = [one for one in json.loads(file.read_text(encoding="utf-8"))["checks"] if one["check"] == "key"]
    assert code != 0
    assert check["error"]["error"] == "DecodeError"
    assert "`$.data.attributes.email`" in check["error"]["message"]
    assert "DecodeError" not in stdout
    assert "canary" not in file.read_text(encoding="utf-8") + stdout
    assert "jane" not in file.read_text(encoding="utf-8")


async def test_bundle_without_a_key(tmp_path: Path) -> None:
    """A report about a missing key, or one that no header can carry, is written too, without the key."""
    for number, environment in enumerate(({}, {"LEADFEEDER_API_KEY": "canary\u00e4-987654321"})):
        file = tmp_path / f"{number}.json"
        code, _, _ = await leadfeeder(None, "doctor", "--bundle", file, **environment)
        report = json.loads(file.read_text(encoding="utf-8"))
        assert code == 3
        assert report["checks"][-1]["error"]["error"] in {"MissingKeyError", "ConfigurationError"}
        assert (report["health"], report["attempts"]) == (None, [])
        assert "canary" not in file.read_text(encoding="utf-8")


async def test_bundle_never_replaces_a_file(quarter: Sandbox, tmp_path: Path) -> None:
    """An existing file or a missing folder is reported before anything is sent."""
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "link.json").symlink_to(tmp_path / "nothing.json")
    for target, message in (("mine.txt", "exists"), ("link.json", "exists"), ("missing/report.json", "not exist")):
        code, _, stderr = await leadfeeder(quarter, "doctor", "--bundle", tmp_path / target)
        assert (code, message in stderr) == (2, True)
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "mine"
    assert quarter.ledger.requests == []


async def test_errors_that_ask_for_a_report_name_the_bundle() -> None:
    """A response that cannot be decoded, and a bug of the command, name the command that writes the report."""
    async with raw_server(http(b'{"data":5}')) as server:
        environment = {"LEADFEEDER_API_KEY": "k", "LEADFEEDER_BASE_URL": server.url, "LEADFEEDER_ACCOUNT_ID": "1"}
        _, _, stderr = await leadfeeder(None, "accounts", **environment)
    assert "doctor --bundle report.json" in stderr
    bug = (
        sys.executable,
        "-c",
        "from leadfeeder_async.cli import app, main; app.build_app = lambda **_: 1 / 0; main()",
    )
    code, _, stderr = await leadfeeder_in_new_python(None, command=bug)
    assert code == 1
    assert "This is a bug" in stderr
    assert "doctor --bundle report.json" in stderr
    assert "ZeroDivisionError" in stderr


async def test_bundle_removes_credentials_from_settings(tmp_path: Path) -> None:
    """A key or a login in a setting that the report shows is replaced."""
    key, file = "canary-key-0123456789", tmp_path / "report.json"
    address = f"http://127.0.0.1:9/{key}"
    await leadfeeder(None, "doctor", "--bundle", file, LEADFEEDER_API_KEY=key, LEADFEEDER_BASE_URL=address)
    assert json.loads(file.read_text(encoding="utf-8"))["settings"]["LEADFEEDER_BASE_URL"] == "http://127.0.0.1:9/***"
    assert "canary" not in file.read_text(encoding="utf-8")


SECRET_SETTINGS = {
    "login": ("BASE_URL", "https://user:canary@api.test"),
    "password with a slash": ("BASE_URL", "https://user:pa/canary@api.test"),
    "password with an at sign": ("BASE_URL", "https://user:p@canary@api.test"),
    "no scheme": ("BASE_URL", "user:canary@api.test"),
    "encoded at sign": ("BASE_URL", "https://user:canary%40api.test"),
    "query": ("BASE_URL", "https://api.test?key=canary"),
    "path": ("BASE_URL", "https://api.test/hooks/canary"),
    "fragment": ("BASE_URL", "https://api.test#canary"),
    "only a secret": ("BASE_URL", "canary"),
    "secret of another variable": ("LOG", "canary"),
    "switch": ("TRUST_ENV", "canary"),
    "unknown variable": ("WEBHOOK", "https://hooks.test/canary"),
    "Redis": ("REDIS_URL", "redis://:canary@redis.test"),
}


@pytest.mark.parametrize(("name", "value"), SECRET_SETTINGS.values(), ids=SECRET_SETTINGS)
def test_bundle_hides_secrets_in_settings(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Values are only shown if they cannot contain a secret. Variables of proxies are only named."""
    for variable in ("HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "user:canary@proxy.test:3128")
    monkeypatch.setenv(f"LEADFEEDER_{name}", value)
    report = Recorder().report([])
    assert "canary" not in str(report)
    shown = "https://api.test/***" if value == "https://api.test/hooks/canary" else "set"
    assert report.settings[f"LEADFEEDER_{name}"] == shown
    assert (report.settings["HTTPS_PROXY"], report.settings["ALL_PROXY"]) == ("set", "set")


def test_bundle_shows_usual_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host of the base URL and the values of switches are shown."""
    shown = {"BASE_URL": "http://[::1]:8080", "LOG": "DEBUG", "TRUST_ENV": "0", "KEYRING": "off", "ALLOW_HTTP": ""}
    for name, value in shown.items():
        monkeypatch.setenv(f"LEADFEEDER_{name}", value)
    settings = Recorder().report([]).settings
    assert {name: settings[f"LEADFEEDER_{name}"] for name in shown} == shown
