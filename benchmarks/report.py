"""Write results as Markdown tables and as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version

from benchmarks.goals import goals
from benchmarks.measure import Result
from benchmarks.measured import Measured

PACKAGES = ("aiohttp", "msgspec", "anyio", "aiolimiter", "orjson", "httpx", "pydantic", "openapi-python-client",
            "openapi-generator-cli", "uvloop", "isal")  # fmt: skip


def as_json(m: Measured) -> str:
    """Return all results as JSON, with the versions of the packages."""
    document = {"machine": machine(), "goals": [asdict(goal) for goal in goals(m)], **asdict(m)}
    return json.dumps(document, indent=2) + "\n"


def machine() -> dict[str, str]:
    """Return the versions and the machine on which the figures depend."""
    versions = {name: version(name) for name in PACKAGES}
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {"python": sys.version.split()[0], "machine": system, **versions}


def as_markdown(m: Measured) -> str:
    """Return all results as Markdown tables, beginning with the goals."""
    return "\n".join(
        [
            "# Benchmark results",
            "",
            (
                "Written by `make bench`. [README.md](README.md) explains the method. Compare the ratios, because "
                "absolute figures depend on the machine."
            ),
            "",
            ", ".join(f"{name} {text}" for name, text in machine().items()) + ".",
            *_table(
                "The sixteen goals",
                ("#", "goal", "measured", "met"),
                ((g.number, g.wanted, g.measured, "yes" if g.met else "**no**") for g in goals(m)),
            ),
            *_results("Visits: 20 pages of 100, CPU per visit", m.visits, m.missing),
            "",
            f"The server sends {m.server:,.0f} such pages per second to clients that only read.",
            *_results("Company summaries by cursor, CPU per row", m.cursors),
            *_results("Companies by ID, CPU per company", m.companies),
            *_results("Export to a file, CPU per visit", m.exports),
            *_results("Small calls, CPU per call", m.small),
            *_results("Compressed pages, CPU per visit", m.compressed),
            *_table(
                "Jobs under the limit of 10 requests a second, burst 15",
                (
                    "pages",
                    "latency",
                    "consumer, per page",
                    "seconds",
                    "ratio to the lower bound",
                    "sequential pages",
                    "requests",
                    "429",
                ),
                (
                    (
                        *(f"{job.pages:,}", job.latency, f"{1000 * job.consumer:.0f} ms", f"{job.ours:.2f}"),
                        f"{job.ours / job.bound:.3f}x",
                        "" if job.naive is None else f"{job.naive:.2f} s, {job.naive / job.ours:.2f}x as long",
                        *(f"{job.requests:,}", job.rejected),
                    )
                    for job in m.jobs
                ),
            ),
            *_table(
                "Growth",
                ("figure", "values"),
                (
                    *(
                        (f"CPU per call of {name}, by number of tasks", _series(micros, "us"))
                        for name, micros in m.tasks.items()
                    ),
                    ("CPU per token of the rate limiter, by number of waiting tasks", _series(m.grants, "us")),
                    ("CPU per streamed visit, by number of visits so far", _marks(m.stream, "micros", "us")),
                    ("memory while streaming, by number of visits so far", _marks(m.stream, "rss", "MB")),
                ),
            ),
            *_table("Memory per visit", ("objects", "bytes"), _rows(m.held)),
            *_table("Longest callback of the event loop while reading visits", ("client", "ms"), _rows(m.loop_held, 2)),
            *_table("CPU time of imports, without the start of the interpreter", ("import", "ms"), _rows(m.imports)),
            "",
        ]
    )


def _results(title: str, results: Mapping[str, Result], missing: Mapping[str, str] | None = None) -> list[str]:
    rows: list[tuple[object, ...]] = [
        (
            name,
            result.ratio,
            "-" if result.quiet is None else f"{result.quiet:.2f} of {result.quiet_turns} turns",
            f"{result.micros.median:.2f}",
            f"{result.micros.low:.2f}-{result.micros.high:.2f}",
        )
        for name, result in sorted(results.items(), key=lambda pair: pair[1].ratio.median)
    ]
    rows += [(name, reason, "", "", "") for name, reason in (missing or {}).items()]
    return _table(title, ("client", "ratio, median [quartiles]", "while quiet", "us, median", "quartiles"), rows)


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    lines = ["", f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)]


def _series(figures: Mapping[int, float], unit: str) -> str:
    return ", ".join(f"{number:,}: {figure:.1f} {unit}" for number, figure in figures.items())


def _marks(stream: Mapping[str, float], name: str, unit: str) -> str:
    marks = {
        int(key.split()[1]): figure for key, figure in stream.items() if key.startswith(f"{name} ") and key[-1] == "0"
    }
    return _series(marks, unit)


def _rows(figures: Mapping[str, float], digits: int = 0) -> Iterable[tuple[object, ...]]:
    return ((name, f"{figure:,.{digits}f}") for name, figure in figures.items())
