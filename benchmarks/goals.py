"""The sixteen goals: what was wanted, what was measured, and whether that meets it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import contenders as c
from benchmarks import throughput as t
from benchmarks.measured import Measured


@dataclass(frozen=True)
class Goal:
    """One goal and its outcome."""

    number: int
    wanted: str
    measured: str
    met: bool


def goals(m: Measured) -> list[Goal]:
    """Judge one run."""
    return [*_sweeps(m), *_calls(m), *_jobs(m), *_memory(m), *_parts(m)]


def _sweeps(m: Measured) -> list[Goal]:
    one, ours, floor = (m.visits[name].ratio.median for name in (c.OURS_ONE, c.OURS, c.FLOOR))
    cursor = m.cursors[c.OURS_CURSOR].ratio.median
    wanted = {c.OPC: 8, c.OAG: 7.5, c.HTTPX_PYDANTIC: 5, c.HTTPX_JSON: 3.5, c.JSON: 2, c.ORJSON: 1.25}
    times = {name: m.visits[name].ratio.median / ours for name in wanted if name in m.visits}
    said = ", ".join(f"{name} {times[name]:.1f}x" if name in times else f"{name} not measured" for name in wanted)
    held, bare, pydantic = (m.loop_held[name] for name in (c.OURS, c.BARE, c.HTTPX_PYDANTIC))
    return [
        Goal(
            1,
            "one page at a time: at most 1.08x bare aiohttp + msgspec",
            f"{one:.2f}x; along cursors, with pages of half the size, {cursor:.2f}x",
            max(one, cursor) <= 1.08,
        ),
        Goal(2, "16 pages in flight: at most 1.10x bare", f"{ours:.2f}x", ours <= 1.10),
        Goal(3, "at most 1.5x a raw asyncio protocol + msgspec", f"{ours / floor:.2f}x", ours / floor <= 1.5),
        Goal(
            4,
            "cheaper a typed visit than " + ", ".join(f"{name} {least:g}x" for name, least in wanted.items()),
            said,
            all(times.get(name, 0) >= least for name, least in wanted.items()),
        ),
        Goal(
            5,
            "loop held at a time at most 1.2x as long as by bare decoding, 8x shorter than by pydantic",
            f"{held:.2f} ms: {held / bare:.2f}x, and {pydantic / held:.1f}x shorter",
            held <= 1.2 * bare and pydantic >= 8 * held,
        ),
    ]


def _calls(m: Measured) -> list[Goal]:
    small, httpx = m.small[t.ME].ratio.median, m.small[t.HTTPX_GET].ratio.median
    return [
        Goal(
            6,
            "small call at most 1.15x bare session.get, 3.5x cheaper than httpx",
            f"{small:.2f}x, and {httpx / small:.1f}x cheaper",
            small <= 1.15 and httpx >= 3.5 * small,
        )
    ]


def _jobs(m: Measured) -> list[Goal]:
    over = [job.ours / job.bound for job in m.jobs]
    most = [1.10 if job.latency.startswith("300") else 1.02 if job.pages >= 1_000 else 1.06 for job in m.jobs]
    plain = [(job, ratio, limit) for job, ratio, limit in zip(m.jobs, over, most, strict=True) if not job.consumer]
    fast = [(job, job.naive / job.ours) for job in m.jobs if job.naive is not None]
    least = {("80-150 ms", 0.0): 1.3, ("300-600 ms", 0.0): 4.5, ("80-150 ms", 0.05): 1.8}
    rejected = sum(job.rejected for job in m.jobs)
    return [
        Goal(
            7,
            "a job's time at most 1.06x its bound at 80-150 ms, 1.10x at 300-600 ms, 1.02x for 1,000 pages; no 429",
            "; ".join(f"{job.pages:,} pages at {job.latency} {ratio:.3f}x" for job, ratio, _ in plain)
            + f"; {rejected} answers 429",
            all(ratio <= limit for _, ratio, limit in plain) and not rejected,
        ),
        Goal(
            8,
            "faster than one page after the other: 1.3x at 80-150 ms, 4.5x at 300-600 ms, "
            "1.8x with a consumer that takes 50 ms a page",
            "; ".join(
                f"{ratio:.2f}x at {job.latency}{' with the consumer' if job.consumer else ''}" for job, ratio in fast
            ),
            all(ratio >= least[job.latency, job.consumer] for job, ratio in fast),
        ),
        Goal(
            9,
            "no 429 in 2,000 simulated jobs with jitter, cold TLS and a slow server clock",
            f"{m.simulated} in {m.simulated_jobs:,} jobs",
            m.simulated == 0,
        ),
    ]


def _memory(m: Measured) -> list[Goal]:
    grown = m.stream["rss end"] - m.stream["rss 10000"]
    peak = m.stream["peak"] - m.stream["rss connected"]
    ours = m.held["ours"]
    return [
        Goal(
            10,
            "1,000,000 visits streamed: at most 2 MB more after the first 10,000, 8 MB over the connected client",
            f"{m.stream['rows']:,.0f} visits: {grown:+.1f} MB, and {peak:+.1f} MB at the peak",
            grown <= 2 and peak <= 8,
        ),
        Goal(
            11,
            "a visit held at most 1.02x a bare Struct; 1.5x smaller than a dict, 2.5x than pydantic's",
            f"{ours:,.0f} bytes: {ours / m.held['structs']:.2f}x; {m.held['dicts'] / ours:.1f}x and "
            f"{m.held['pydantic'] / ours:.1f}x smaller",
            ours <= 1.02 * m.held["structs"] and m.held["dicts"] >= 1.5 * ours and m.held["pydantic"] >= 2.5 * ours,
        ),
    ]


def _parts(m: Measured) -> list[Goal]:
    mine, client, _, eager, openai, stripe = m.imports.values()
    gzip, isal = m.compressed[t.GZIP].ratio.median, m.compressed[t.GZIP_ISAL].ratio.median
    export = m.exports[t.EXPORT].ratio.median
    flat, most = m.tasks[t.ME], max(t.TASKS)
    by_hand = ", ".join(f"{micros:.0f}" for micros in m.tasks[t.GET].values())
    return [
        Goal(
            12,
            "import at most 0.33x its dependencies, 0.15x openai, 0.6x stripe",
            f"{mine:.0f} ms: {mine / eager:.2f}x, {mine / openai:.2f}x, {mine / stripe:.2f}x; "
            f"its client, when first named, {client / eager:.2f}x",
            mine <= 0.33 * eager and mine <= 0.15 * openai and mine <= 0.6 * stripe,
        ),
        Goal(
            13,
            "limiter at most 3 ms late (p99), at most 30 us a grant while 10,000 wait",
            f"p99 {m.late[1]:.1f} ms, {m.grants[10_000]:.1f} us",
            m.late[1] <= 3 and m.grants[10_000] <= 30,
        ),
        Goal(
            14,
            "a gzip page at most 1.3x a plain one with the fast zlib, 1.65x without",
            f"{isal:.2f}x and {gzip:.2f}x",
            isal <= 1.3 and gzip <= 1.65,
        ),
        Goal(15, "an export at most 0.85x bare typed decoding", f"{export:.2f}x", export <= 0.85),
        Goal(
            16,
            "10,000 tasks on one client: cost a call flat from 16 tasks on (within a quarter)",
            ", ".join(f"{tasks:,}: {micros:.0f} us" for tasks, micros in flat.items()) + f"; by hand {by_hand}",
            flat[most] <= 1.25 * flat[16],
        ),
    ]
