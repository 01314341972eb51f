"""``leadfeeder sandbox``."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import Parameter

from leadfeeder_async.cli.printing import print_err, print_out
from leadfeeder_async.cli.shell import format_assignment
from leadfeeder_async.errors import ConfigurationError, check_argument


async def sandbox(
    *,
    port: Annotated[int, Parameter(help="The port on 127.0.0.1. 0 selects a free port.")] = 0,
    seed: Annotated[int, Parameter(help="The seed of the generated data. The same seed generates the same data.")] = 1,
    companies: Annotated[int, Parameter(help="The number of companies to generate.")] = 200,
    visits: Annotated[int, Parameter(help="The number of visits to generate.")] = 1_000,
    days: Annotated[int, Parameter(help="The number of days that the visits cover. The last one is today.")] = 30,
    accounts: Annotated[int, Parameter(help="The number of accounts that the key can access.")] = 1,
    credits: Annotated[int, Parameter(help="The credits of each account.")] = 5_000,  # noqa: A002 - the API's word
    latency: Annotated[float, Parameter(help="The delay of each response in seconds.")] = 0.0,
    flaky: Annotated[float, Parameter(help="The fraction of requests that fail with status 503, from 0 to 1.")] = 0.0,
    rate_limit: Annotated[bool, Parameter(help="Enforce the API's limit of 10 requests per second.")] = True,
    visit_every: Annotated[float | None, Parameter(help="Add a new visit each time this many seconds pass.")] = None,
) -> None:
    """Run a local server that behaves like the API.

    Prints the environment variables to set in another shell. Needs no key. Press Ctrl-C to stop it.
    """
    from leadfeeder_async.sandbox import Sandbox

    check_argument(visit_every is None or visit_every > 0, f"--visit-every {visit_every} must be more than 0.")
    try:
        server = Sandbox(
            seed=seed,
            companies=companies,
            visits=visits,
            days=days,
            accounts=accounts,
            credits=credits,
            latency=latency,
            flaky=flaky,
            rate_limit=rate_limit,
            port=port,
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    async with server:
        for name, value in server.environment.items():
            print_out(format_assignment(name, value))
        print_err(f"The sandbox is running at {server.url}. Press Ctrl-C to stop it.")
        while visit_every is not None:
            await asyncio.sleep(visit_every)
            server.world.add_visits(1)
        await asyncio.Event().wait()
