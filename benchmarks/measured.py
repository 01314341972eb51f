"""The results of one run of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.jobs import Job
from benchmarks.measure import Result


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The results of one run."""

    server: float
    """Pages per second that the server sends to clients that only read."""
    visits: dict[str, Result]
    missing: dict[str, str]
    """Contenders that could not be measured, with the reason."""
    cursors: dict[str, Result]
    companies: dict[str, Result]
    exports: dict[str, Result]
    small: dict[str, Result]
    tasks: dict[str, dict[int, float]]
    """Microseconds of CPU per call, by contender and by number of tasks."""
    compressed: dict[str, Result]
    loop_held: dict[str, float]
    """Longest callback of the event loop in milliseconds, by contender."""
    stream: dict[str, float]
    """Memory in MB and CPU per visit in microseconds while visits are streamed."""
    held: dict[str, float]
    """Memory per visit in bytes, by type of the objects."""
    imports: dict[str, float]
    """Milliseconds of CPU per import, without the start of the interpreter."""
    grants: dict[int, float]
    """Microseconds of CPU per rate-limit token, by number of waiting tasks."""
    late: tuple[float, float]
    """Delay of rate-limit tokens in milliseconds: median and 99th percentile."""
    simulated: int
    """429 responses in simulated jobs."""
    simulated_jobs: int
    jobs: list[Job]
