"""The Python of the README and of the documentation runs as pasted."""

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


PAGES = {
    f"{page.stem}-{number}": snippet
    for page in sorted((Path(__file__).parents[1] / "docs").glob("*.md"))
    for number, snippet in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
}
OTHERS = {**{f"readme-{number}": snippet for number, snippet in enumerate(SNIPPETS) if number}, **PAGES}


@pytest.mark.parametrize("name", list(OTHERS))
async def test_snippet_runs(
    name: str,
    sandbox: Sandbox,
    lf: AsyncLeadfeeder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Every other snippet defines coroutine functions, and they run against a sandbox."""
    monkeypatch.chdir(tmp_path)
    for variable, value in sandbox.environment.items():
        monkeypatch.setenv(variable, value)
    snippet = OTHERS[name]
    names: dict[str, Any] = {}
    exec(snippet, names)
    functions = [value for value in names.values() if inspect.iscoroutinefunction(value)]
    assert functions
    for function in functions:
        wanted = {"lf": lf, "company_id": "159000001"}
        await function(**{name: wanted[name] for name in inspect.signature(function).parameters})
    assert "may have been charged" not in capsys.readouterr().out
