"""``leadfeeder watch``: print new visits as they come, or post them to a webhook."""

from __future__ import annotations

import re
import sys
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import Parameter

from leadfeeder_async.cli.dates import parse_start
from leadfeeder_async.cli.options import FLAG, AccountId, Countries, FeedId, JsonLines, country_codes
from leadfeeder_async.cli.printing import print_err, print_out
from leadfeeder_async.cli.record_tables import format_value
from leadfeeder_async.cli.stdout_writer import write_stdout
from leadfeeder_async.cli.visit_json import visit_to_dict
from leadfeeder_async.errors import CheckpointError, check_argument
from leadfeeder_async.pagination.visit_time import utc_time

if TYPE_CHECKING:
    from leadfeeder_async.models.records import WebVisit

_SECONDS = {"s": 1, "m": 60, "h": 3_600}

_ROW = "{:<16}  {:<28.28}  {:<7.7}  {:>5}  {}"
_HEADING = _ROW.format("started (UTC)", "company", "country", "pages", "landing page")


async def watch(
    *,
    every: Annotated[str, Parameter(help="The time between two polls, such as `30s`, `5m` or `1h`.")] = "5m",
    state: Annotated[
        Path | None,
        Parameter(help="Keep the progress in this file, so that the next run continues. Default: in memory."),
    ] = None,
    since: Annotated[
        str,
        Parameter(
            help="The start of the first run: `now`, `24h`, YYYY-MM-DD, `today` or `30d`. Later runs continue from "
            "--state."
        ),
    ] = "now",
    lookback: Annotated[
        int, Parameter(help="Check this many days before the newest visit again, for late visits.")
    ] = 3,
    company_id: Annotated[str | None, Parameter(help="Only visits of this company.")] = None,
    country: Countries = None,
    feed: FeedId = None,
    include_company: Annotated[
        bool, FLAG, Parameter(help="Include all fields of each company, not only its id.")
    ] = False,
    webhook: Annotated[str | None, Parameter(help="Post each visit to this URL instead of printing it.")] = None,
    format: Annotated[  # noqa: A002 - the name of the option
        Literal["json", "slack", "teams"], Parameter(help="The body of a post.")
    ] = "json",
    account_id: AccountId = None,
    json: JsonLines = False,
) -> None:
    """Print new visits as they come, until Ctrl-C or SIGTERM.

    In a pipe, the visits are JSON lines. With --state, a restart delivers no visit again. After a crash, at most
    the last visit is delivered again. With --webhook, a post is retried until the receiver accepts it.

    Credits: none. A poll without new visits is one request for each 8,000 visits of the lookback.
    """
    from leadfeeder_async.cli.webhook import Webhook
    from leadfeeder_async.client import AsyncLeadfeeder

    as_json = json or not sys.stdout.isatty()
    needs_company = webhook is not None or not as_json
    async with AsyncExitStack() as stack:
        receiver = None if webhook is None else await stack.enter_async_context(Webhook(webhook, format))
        lf = await stack.enter_async_context(AsyncLeadfeeder(account_id=account_id))
        visits = lf.web_visits.watch(
            every=parse_interval(every),
            since="now" if since == "now" else parse_start(since, datetime.now(UTC)),
            state=state,
            lookback_days=lookback,
            company_id=company_id,
            filters={"location_country_codes": country_codes(country)} if country else None,
            custom_feed_id=feed,
            include=["company"] if include_company or needs_company else None,
        )
        if receiver is None and not as_json:
            print_out(_HEADING)
        try:
            async for visit in await stack.enter_async_context(aclosing(visits)):
                if receiver is not None:
                    await receiver.post(visit)
                elif as_json:
                    await write_stdout(msgspec.json.encode(visit_to_dict(visit)) + b"\n")
                else:
                    print_out(format_row(visit))  # in the encoding of the terminal
        except CheckpointError:  # the state cannot be used
            raise
        except BaseException:
            if state is not None and state.exists():
                print_err(f"The state is kept in {state}. Run the same command again to continue.")
            raise


def parse_interval(text: str) -> float:
    """Return the seconds of an interval such as ``30s``, ``5m`` or ``1h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    check_argument(match, f"--every {text!r} is not an interval with a unit.", "Write `30s`, `5m` or `1h`.")
    return float(match[1]) * _SECONDS[match[2]] if match else 0.0


def format_row(visit: WebVisit) -> str:
    """Return a visit as one line of a table."""
    time = utc_time(visit.started_at)
    started = "" if time is None else f"{time:%Y-%m-%d %H:%M}"
    name = format_value(visit.company_name or visit.company_id)
    country, page = format_value(visit.location_country_code), format_value(visit.landing_page)
    depth = "" if visit.attributes.page_depth is None else visit.attributes.page_depth
    return _ROW.format(started, name, country, depth, page)
