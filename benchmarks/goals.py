"""The sixteen goals, with the measured figures and whether the goal is met."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import contenders as c
from benchmarks import throughput as t
from benchmarks.measured import Measured


@dataclass(frozen=True)
class Goal:
    """One goal and its result."""

    number: int
    wanted: str
    measured: str
    met: bool


def goals(m: Measured) -> list[Goal]:
    """Return all goals with the results of one run."""
    return [*_lists(m), *_calls(m), *_jobs(m), *_memory(m), *_parts(m)]


def _lists(m: Measured) -> list[Goal]:
    one, ours, floor = (m.visits[name].ratio.median for name in (c.OURS_ONE, c.OURS, c.FLOOR))
    cursor = m.cursors[c.OURS_CURSOR].ratio.median
    wanted = {c.OPC: 8, c.OAG: 7.5, c.HTTPX_PYDANTIC: 5, c.HTTPX_JSON: 3.5, c.JSON: 2, c.ORJSON: 1.25}
    times = {name: m.visits[name].ratio.median / ours for name in wanted if name in m.visits}
    measured = ", ".join(f"{name} {times[name]:.1f}x" if name in times else f"{name} not measured" for name in wanted)
    held, bare, pydantic = (m.loop_held[name] for name in (c.OURS, c.BARE, c.HTTPX_PYDANTIC))
    return [
        Goal(
            1,
            "one page at a time: at most 1.08x aiohttp + msgspec by hand",
            f"{one:.2f}x; by cursor, with pages of half the size, {cursor:.2f}x",
            max(one, cursor) <= 1.08,
        ),
        Goal(2, "16 pages in flight: at most 1.10x by hand", f"{ours:.2f}x", ours <= 1.10),
        Goal(3, "at most 1.5x a raw asyncio protocol + msgspec", f"{ours / floor:.2f}x", ours / floor <= 1.5),
        Goal(
            4,
            "CPU time per typed visit lower than " + ", ".join(f"{name} {least:g}x" for name, least in wanted.items()),
            measured,
            all(times.get(name, 0) >= least for name, least in wanted.items()),
        ),
        Goal(
            5,
            "longest block of the event loop: at most 1.2x that of decoding by hand, 8x shorter than pydantic",
            f"{held:.2f} ms: {held / bare:.2f}x, and {pydantic / held:.1f}x shorter",
            held <= 1.2 * bare and pydantic >= 8 * held,
        ),
    ]


def _calls(m: Measured) -> list[Goal]:
    small, httpx = m.small[t.ME].ratio.median, m.small[t.HTTPX_GET].ratio.median
    return [
        Goal(
            6,
            "small call: at most 1.15x session.get by hand, 3.5x cheaper than httpx",
            f"{small:.2f}x, and {httpx / small:.1f}x cheaper",
            small <= 1.15 and httpx >= 3.5 * small,
        )
    ]


def _jobs(m: Measured) -> list[Goal]:
    ratios = [job.ours / job.bound for job in m.jobs]
    limits = [1.10 if job.latency.startswith("300") else 1.02 if job.pages >= 1_000 else 1.06 for job in m.jobs]
    without_consumer = [
        (job, ratio, limit) for job, ratio, limit in zip(m.jobs, ratios, limits, strict=True) if not job.consumer
    ]
    speedups = [(job, job.naive / job.ours) for job in m.jobs if job.naive is not None]
    least = {("80-150 ms", 0.0): 1.3, ("300-600 ms", 0.0): 4.5, ("80-150 ms", 0.05): 1.8}
    rejected = sum(job.rejected for job in m.jobs)
    return [
        Goal(
            7,
            "time of a job: at most 1.06x the lower bound at 80-150 ms, 1.10x at 300-600 ms, "
            "1.02x for 1,000 pages; no 429",
            "; ".join(f"{job.pages:,} pages at {job.latency} {ratio:.3f}x" for job, ratio, _ in without_consumer)
            + f"; {rejected} times 429",
            all(ratio <= limit for _, ratio, limit in without_consumer) and not rejected,
        ),
        Goal(
            8,
            "faster than sequential pages: 1.3x at 80-150 ms, 4.5x at 300-600 ms, "
            "1.8x with a consumer that takes 50 ms per page",
            "; ".join(
                f"{ratio:.2f}x at {job.latency}{' with the consumer' if job.consumer else ''}"
                for job, ratio in speedups
            ),
            all(ratio >= least[job.latency, job.consumer] for job, ratio in speedups),
        ),
        Goal(
            9,
            "no 429 in 2,000 simulated jobs with jitter, cold TLS and a slow server clock",
            f"{m.simulated} in {m.simulated_jobs:,} jobs",
            m.simulated == 0,
        ),
    ]


def _memory(m: Measured) -> list[Goal]:
    growth = m.stream["rss end"] - m.stream["rss 10000"]
    peak = m.stream["peak"] - m.stream["rss connected"]
    ours = m.held["ours"]
    return [
        Goal(
            10,
            "memory for 1,000,000 streamed visits: at most 2 MB more after the first 10,000, "
            "at most 8 MB more than a connected client",
            f"{m.stream['rows']:,.0f} visits: {growth:+.1f} MB, and {peak:+.1f} MB at the peak",
            growth <= 2 and peak <= 8,
        ),
        Goal(
            11,
            "memory per visit: at most 1.02x a plain Struct, 1.5x less than a dict, 2.5x less than a pydantic model",
            f"{ours:,.0f} bytes: {ours / m.held['structs']:.2f}x; {m.held['dicts'] / ours:.1f}x and "
            f"{m.held['pydantic'] / ours:.1f}x less",
            ours <= 1.02 * m.held["structs"] and m.held["dicts"] >= 1.5 * ours and m.held["pydantic"] >= 2.5 * ours,
        ),
    ]


def _parts(m: Measured) -> list[Goal]:
    mine, client, _, eager, openai, stripe = m.imports.values()
    gzip, isal = m.compressed[t.GZIP].ratio.median, m.compressed[t.GZIP_ISAL].ratio.median
    export = m.exports[t.EXPORT].ratio.median
    per_call, most_tasks = m.tasks[t.ME], max(t.TASKS)
    by_hand = ", ".join(f"{micros:.0f}" for micros in m.tasks[t.GET].values())
    return [
        Goal(
            12,
            "import time: at most 0.33x that of its dependencies, 0.15x openai, 0.6x stripe",
            f"{mine:.0f} ms: {mine / eager:.2f}x, {mine / openai:.2f}x, {mine / stripe:.2f}x; "
            f"first use of the client {client / eager:.2f}x",
            mine <= 0.33 * eager and mine <= 0.15 * openai and mine <= 0.6 * stripe,
        ),
        Goal(
            13,
            "rate limiter: at most 3 ms late (p99), at most 30 us per token while 10,000 tasks wait",
            f"p99 {m.late[1]:.1f} ms, {m.grants[10_000]:.1f} us",
            m.late[1] <= 3 and m.grants[10_000] <= 30,
        ),
        Goal(
            14,
            "gzip page: at most 1.3x an uncompressed one with isal, 1.65x with zlib",
            f"{isal:.2f}x and {gzip:.2f}x",
            isal <= 1.3 and gzip <= 1.65,
        ),
        Goal(15, "export: at most 0.85x typed decoding by hand", f"{export:.2f}x", export <= 0.85),
        Goal(
            16,
            "10,000 tasks on one client: CPU time per call at most 1.25x that of 16 tasks",
            ", ".join(f"{tasks:,}: {micros:.0f} us" for tasks, micros in per_call.items()) + f"; by hand {by_hand}",
            per_call[most_tasks] <= 1.25 * per_call[16],
        ),
    ]
