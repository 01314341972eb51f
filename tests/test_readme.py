"""Every example of the README and of the documentation runs as pasted: Python, web applications and shell lines."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
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
from tests.support.paths import ROOT

PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "reference"),
]


def examples(language: str) -> dict[str, str]:
    """Return the fenced examples in one language, by page and number."""
    return {
        f"{page.relative_to(ROOT).with_suffix('')}-{number}": text
        for page in PAGES
        for number, text in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        )
    }


PYTHON = examples("python")
FIRST = PYTHON.pop("README-0")
APPS = {name: PYTHON.pop(name) for name, text in list(PYTHON.items()) if "\napp = " in text}
SHELL = [line for text in examples("sh").values() for line in text.replace("\\\n", "").splitlines() if line.strip()]
SERVES_OR_CALLS_OUT = re.compile(r"leadfeeder (sandbox|contract)")


@pytest.fixture
def in_an_empty_folder(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a reader has it who pasted the sandbox's lines into a shell."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")  # dlt's, as is the folder of its own
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    for variable, value in sandbox.environment.items():
        monkeypatch.setenv(variable, value)


def paste(text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run an example as a module of its own, where frameworks that look for one find it."""
    module = ModuleType("pasted")
    monkeypatch.setitem(sys.modules, "pasted", module)
    exec(text, vars(module))
    return vars(module)


def test_the_first_example_is_short() -> None:
    """What a visitor sees first is at most ten lines of code."""
    assert len([line for line in FIRST.splitlines() if line.strip()]) <= 10


def test_the_first_example_prints_visits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pasted with nothing but the environment lines of a sandbox, it prints a line per visit of the last 30 days."""
    names = paste(FIRST.replace("asyncio.run(main())", ""), monkeypatch)

    async def scenario(sandbox: Sandbox) -> None:
        async with sandbox:
            for name, value in sandbox.environment.items():
                monkeypatch.setenv(name, value)
            await names["main"]()

    world = Sandbox(visits=300, rate_limit=False, days=29)  # of the 30 days it asks for, should midnight pass meanwhile
    asyncio.run(scenario(world))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 300
    assert {line[:10] for line in lines} == {str(world.end_date - timedelta(day)) for day in range(29)}
    assert not [line for line in lines if "None" in line]


@pytest.mark.parametrize("name", list(PYTHON))
@pytest.mark.usefixtures("in_an_empty_folder")
async def test_snippet_runs(
    name: str,
    sandbox: Sandbox,
    lf: AsyncLeadfeeder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every other snippet defines coroutine functions, or tests, and they run against a sandbox."""
    pasted = [one for one in paste(PYTHON[name], monkeypatch).values() if inspect.isfunction(one)]
    functions = [one for one in pasted if one.__module__ == "pasted" and _runs(one)]  # and not what it imports
    assert functions
    wanted = {"lf": lf, "company_id": "159000001", "account_id": sandbox.account_id, "leadfeeder_sandbox": sandbox}
    tests = [function for function in functions if function.__name__.startswith("test_")]
    for function in tests or functions:  # what a test is about, it calls itself
        given = {name: wanted[name] for name in inspect.signature(function).parameters}
        if inspect.iscoroutinefunction(function):
            await function(**given)
        else:
            await asyncio.to_thread(function, **given)  # a loop of its own has room there
    assert "may have been charged" not in capsys.readouterr().out


def _runs(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or function.__name__.startswith("test_")


def _answers(app: Any, sandbox: Sandbox) -> list[Any]:
    """Ask an application with its own framework's client, which opens and closes its lifespan; at last while it fails."""
    if type(app).__module__.startswith("litestar"):
        from litestar.testing import TestClient
    else:
        from fastapi.testclient import TestClient
    month = f"/visits?start_date={sandbox.start_date}&end_date={sandbox.end_date}"
    swapped, no_day = "/visits?start_date=2026-11-30&end_date=2026-11-01", "/visits?start_date=x&end_date=2026-11-30"
    with TestClient(app) as client:
        answers = [client.get(path) for path in ("/companies/159000001", "/companies/1", month, swapped, no_day)]
        sandbox.fail_next(403)
        answers.append(client.get(month))
        sandbox.fail_next(429, retry_after="90")  # longer than a call waits
        answers.append(client.get(month))
    return answers


@pytest.mark.filterwarnings("ignore:Using .httpx. with .starlette.testclient.")  # the test client's own matter
@pytest.mark.usefixtures("in_an_empty_folder")
async def test_web_applications_answer_alike(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI with ``to_dict`` and Litestar with Structs give the same JSON, and a status and a reason for each error."""
    assert len(APPS) == 2
    apps = [paste(text, monkeypatch)["app"] for text in APPS.values()]
    fast, lite = [await asyncio.to_thread(_answers, app, sandbox) for app in apps]
    assert [answer.status_code for answer in fast] == [200, 404, 200, 400, 422, 502, 503]
    assert [answer.status_code for answer in lite] == [200, 404, 200, 400, 400, 502, 503]
    assert fast[0].json() == lite[0].json()
    assert fast[0].json()["id"] == "159000001"
    assert fast[2].json() == lite[2].json()
    assert len(fast[2].json()) == 50
    assert sandbox.ledger.credits_charged == 1
    for answers in (fast, lite):
        missing, swapped, refused, limited = answers[1].json(), answers[3].json(), answers[-2].json(), answers[-1]
        assert missing["request_id"]
        assert swapped["detail"] == "start_date is after end_date"
        assert refused["error"] == "This cannot be answered at present."
        assert refused["request_id"]
        assert 60 < (parsedate_to_datetime(limited.headers["Retry-After"]) - datetime.now(UTC)).total_seconds() <= 90


@pytest.mark.parametrize("line", [line for line in SHELL if not SERVES_OR_CALLS_OUT.search(line)])
def test_shell_line_runs(line: str, leadfeeder_sandbox: Sandbox, tmp_path: Path) -> None:
    """Every line of an ``sh`` block that neither serves nor calls out succeeds by itself, in an empty folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        line, shell=True, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
