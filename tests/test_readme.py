"""The README's Python runs as pasted."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.sandbox import Sandbox

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_first_example_is_short() -> None:
    """What a visitor sees first is at most ten lines of code."""
    assert len([line for line in SNIPPETS[0].splitlines() if line.strip()]) <= 10


def test_the_first_example_prints_visits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pasted with nothing but the environment lines of a sandbox, it prints a line per visit, with its company."""
    snippet = SNIPPETS[0].replace("asyncio.run(main())", "")
    names: dict[str, Any] = {}
    exec(snippet, names)

    async def scenario(sandbox: Sandbox) -> None:
        async with sandbox:
            for name, value in sandbox.environment.items():
                monkeypatch.setenv(name, value)
            await names["main"]()

    from datetime import date

    asyncio.run(scenario(Sandbox(visits=300, rate_limit=False, end_date=date(2026, 11, 30))))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 300
    assert all(line.startswith("2026-11-") and "None" not in line for line in lines)


@pytest.mark.parametrize("snippet", SNIPPETS[1:], ids=range(1, len(SNIPPETS)))
async def test_snippet_runs(snippet: str, lf: AsyncLeadfeeder, capsys: pytest.CaptureFixture[str]) -> None:
    """Every other snippet defines coroutine functions, and they run against a sandbox."""
    names: dict[str, Any] = {}
    exec(snippet, names)
    functions = [value for value in names.values() if inspect.iscoroutinefunction(value)]
    assert functions
    for function in functions:
        wanted = {"lf": lf, "company_id": "159000001"}
        await function(**{name: wanted[name] for name in inspect.signature(function).parameters})
    assert "may have been charged" not in capsys.readouterr().out
