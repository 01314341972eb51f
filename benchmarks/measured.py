"""Everything that one run of the benchmarks measured."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.jobs import Job
from benchmarks.measure import Result


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run."""

    server: float
    """Pages a second the server gives to clients that only read."""
    visits: dict[str, Result]
    missing: dict[str, str]
    """What could not be measured, and why."""
    cursors: dict[str, Result]
    companies: dict[str, Result]
    exports: dict[str, Result]
    small: dict[str, Result]
    tasks: dict[str, dict[int, float]]
    """Microseconds of CPU a call, by contender and by how many tasks make them."""
    compressed: dict[str, Result]
    loop_held: dict[str, float]
    """Milliseconds a page."""
    stream: dict[str, float]
    held: dict[str, float]
    """Bytes a visit."""
    imports: dict[str, float]
    """Milliseconds of CPU over a bare interpreter."""
    grants: dict[int, float]
    """Microseconds of CPU a grant, by how many wait."""
    late: tuple[float, float]
    """How late grants are in milliseconds: median, 99th percentile."""
    simulated: int
    simulated_jobs: int
    jobs: list[Job]
