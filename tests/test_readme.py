"""Run every example of the README and the documentation: Python, web applications and shell commands."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import leadfeeder
from tests.support.paths import ROOT, SCRIPTS
from tests.support.requirements import needs_posix_shell

PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "reference"),
]


def examples(language: str) -> dict[str, str]:
    """Return the code blocks of one language, by page and number."""
    return {
        f"{page.relative_to(ROOT).with_suffix('').as_posix()}-{number}": text
        for page in PAGES
        for number, text in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        )
    }


PYTHON = examples("python")
FIRST = PYTHON.pop("README-0")
APPS = {name: PYTHON.pop(name) for name, text in list(PYTHON.items()) if "\napp = " in text}
SHELL = dict.fromkeys(
    line for text in examples("sh").values() for line in text.replace("\\\n", "").splitlines() if line.strip()
)
"""The lines of all shell examples, each once."""
NOT_RUN = re.compile(r"leadfeeder (sandbox|contract)")
"""Commands that run until they are stopped, or that need a network."""
SHELL_SYNTAX = re.compile(r"[|&;<>$`*(~]")
"""Characters that a shell interprets."""


@pytest.fixture
def empty_folder(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Change to an empty folder, with the environment variables that ``leadfeeder sandbox`` prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    for variable, value in sandbox.environment.items():
        monkeypatch.setenv(variable, value)


def run_as_module(text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run an example as a module of its own, so that frameworks can find it, and return its names."""
    module = ModuleType("pasted")
    monkeypatch.setitem(sys.modules, "pasted", module)
    exec(text, vars(module))
    return vars(module)


def test_first_example_has_ten_lines() -> None:
    """The first example of the README has at most ten lines of code."""
    assert len([line for line in FIRST.splitlines() if line.strip()]) <= 10


def test_first_example_prints_visits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment of a sandbox, the first example prints one line per visit of the last 30 days."""
    names = run_as_module(FIRST.replace("asyncio.run(main())", ""), monkeypatch)

    async def scenario(sandbox: Sandbox) -> None:
        async with sandbox:
            for name, value in sandbox.environment.items():
                monkeypatch.setenv(name, value)
            await names["main"]()

    world = Sandbox(visits=300, rate_limit=False, days=29)  # one day less than the example reads, in case of midnight
    asyncio.run(scenario(world))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 300
    assert {line[:10] for line in lines} == {str(world.end_date - timedelta(day)) for day in range(29)}
    assert not [line for line in lines if "None" in line]


@pytest.mark.parametrize("name", list(PYTHON))
@pytest.mark.usefixtures("empty_folder")
async def test_snippet_runs(
    name: str,
    sandbox: Sandbox,
    lf: AsyncLeadfeeder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each Python example defines coroutine functions or tests, and they run against a sandbox.

    If an example defines tests, only these are run, because they call the other functions. A function with an argument
    that is not listed in ``arguments`` must be called by another one.
    """
    defined = [value for value in run_as_module(PYTHON[name], monkeypatch).values() if inspect.isfunction(value)]
    functions = [value for value in defined if value.__module__ == "pasted" and _is_runnable(value)]
    arguments = {"lf": lf, "company_id": "159000001", "account_id": sandbox.account_id, "leadfeeder_sandbox": sandbox}
    tests = [function for function in functions if function.__name__.startswith("test_")]
    called = [test for test in tests or functions if inspect.signature(test).parameters.keys() <= arguments.keys()]
    assert called
    for function in set(functions) - set(called) - set(tests):
        assert len(re.findall(rf"\b{function.__name__}\(", PYTHON[name])) > 1, f"{function.__name__} is not called"
    for function in called:
        chosen = {name: arguments[name] for name in inspect.signature(function).parameters}
        if inspect.iscoroutinefunction(function):
            await function(**chosen)
        else:
            await asyncio.to_thread(function, **chosen)  # the function can run its own event loop there
    assert "possibly charged" not in capsys.readouterr().out


def _is_runnable(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or function.__name__.startswith(("test_", "main"))


def _responses(app: Any, sandbox: Sandbox) -> list[Any]:
    """Request an application with the test client of its framework, first normally and then with injected errors."""
    if type(app).__module__.startswith("litestar"):
        from litestar.testing import TestClient
    else:
        from fastapi.testclient import TestClient
    month = f"/visits?start_date={sandbox.start_date}&end_date={sandbox.end_date}"
    swapped, invalid = "/visits?start_date=2026-11-30&end_date=2026-11-01", "/visits?start_date=x&end_date=2026-11-30"
    with TestClient(app) as client:
        responses = [client.get(path) for path in ("/companies/159000001", "/companies/1", month, swapped, invalid)]
        sandbox.fail_next(403)
        responses.append(client.get(month))
        sandbox.fail_next(429, retry_after="90")  # longer than the client waits
        responses.append(client.get(month))
    return responses


@pytest.mark.filterwarnings("ignore:Using .httpx. with .starlette.testclient.")
@pytest.mark.usefixtures("empty_folder")
async def test_web_applications_respond_alike(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI and Litestar return the same JSON, and a status and a message for each error."""
    assert len(APPS) == 2
    apps = [run_as_module(text, monkeypatch)["app"] for text in APPS.values()]
    fastapi, litestar = [await asyncio.to_thread(_responses, app, sandbox) for app in apps]
    assert [response.status_code for response in fastapi] == [200, 404, 200, 400, 422, 502, 503]
    assert [response.status_code for response in litestar] == [200, 404, 200, 400, 400, 502, 503]
    assert fastapi[0].json() == litestar[0].json()
    assert fastapi[0].json()["id"] == "159000001"
    assert fastapi[2].json() == litestar[2].json()
    assert len(fastapi[2].json()) == 50
    assert sandbox.ledger.credits_charged == 1
    for responses in (fastapi, litestar):
        missing, swapped, rejected = responses[1].json(), responses[3].json(), responses[-2].json()
        assert missing["request_id"]
        assert swapped["detail"] == "start_date is after end_date"
        assert rejected["error"] == "The data is not available at the moment."
        assert rejected["request_id"]
        retry_after = parsedate_to_datetime(responses[-1].headers["Retry-After"])
        assert 60 < (retry_after - datetime.now(UTC)).total_seconds() <= 90


LINES = [line for line in SHELL if not NOT_RUN.search(line)]
COMMANDS = [line for line in LINES if line.startswith("leadfeeder ") and not SHELL_SYNTAX.search(line)]


@pytest.mark.parametrize("line", COMMANDS)
async def test_command_runs(
    line: str, leadfeeder_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of an ``sh`` block succeeds on its own in an empty folder."""
    monkeypatch.chdir(tmp_path)
    code, _, stderr = await leadfeeder(leadfeeder_sandbox, *shlex.split(line, comments=True)[1:])
    assert code == 0, stderr


@pytest.mark.e2e
@pytest.mark.parametrize("line", [line for line in LINES if line not in COMMANDS])
@needs_posix_shell
def test_shell_line_runs(line: str, leadfeeder_sandbox: Sandbox, tmp_path: Path) -> None:
    """Each other line of an ``sh`` block succeeds on its own in an empty folder."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.run(
        line,
        shell=True,
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert process.returncode == 0, process.stderr
