"""A report's figures as one HTML page that needs nothing else: no network, no other file."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.resources import files
from string import Template

from leadfeeder_async._version import __version__
from leadfeeder_async.report.charts import VISIT_CATEGORIES, visits_chart
from leadfeeder_async.report.headline_cards import HeadlineCard, tiles
from leadfeeder_async.report.html import (
    Markup,
    count,
    days,
    decimal,
    element,
    escaped,
    joined,
    long_day,
    minutes,
    moment,
    number_of,
    shortened,
)
from leadfeeder_async.report.report_data import Report, Totals
from leadfeeder_async.report.tables import breakdown_table, spans_table, visitors_table
from leadfeeder_async.report.usage_section import use


def render(report: Report) -> str:
    """Return the page of a report; the same figures give the same page."""
    style, script = _file("page.css"), _file("page.js")
    return Template(_file("page.html")).substitute(
        policy=_policy(style, script),
        title=escaped(shortened(report.title)),
        style=style,
        header=_header(report),
        main=joined(*_sections(report)),
        footer=_footer(report),
        script=script,
    )


def _file(name: str) -> str:
    return files("leadfeeder_async.report").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Forbid everything but this style and this script, by their hashes."""
    allowed = f"style-src {_hash(style)}; script-src {_hash(script)}"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _header(report: Report) -> Markup:
    account = report.coverage.account_id
    period = element("strong", days(report.window.start, report.window.end))
    about = f", {number_of(report.window.days, 'day')} in UTC" + (f" · account {shortened(account)}" if account else "")
    notes = (element("p", note, class_="note") for note in _notes(report))
    return joined(element("h1", shortened(report.title)), element("p", period, about), *notes)


def _notes(report: Report) -> Iterator[str]:
    """Say what a reader must know to trust the numbers."""
    held, asked, window = report.coverage, report.asked, report.window
    if held.last_day is None:
        yield "The database holds no visits yet. Run leadfeeder sync, then make this report again."
        return
    if asked != window:
        held_only = f"the database holds the whole of {days(window.start, window.end)} only"
        yield f"Asked for was {days(asked.start, asked.end)}; {held_only}."
    if held.finished_at is None:
        yield "The first sync is not through: these numbers count what is there so far."
    elif held.finished_at.date() <= window.end:
        synced = f"{long_day(held.finished_at)} was not over when it was synced, at {held.finished_at:%H:%M}"
        yield f"{synced}: its visits are not all here."
    if held.visits_without_timestamp:
        yield f"Not counted: {number_of(held.visits_without_timestamp, 'visit')} without a time."


def _sections(report: Report) -> Iterator[Markup]:
    yield section("At a glance", "glance", tiles(_headlines(report)), element("p", _comparison(report), class_="quiet"))
    yield section(f"Visits per {report.step}", "visits", *_visits(report))
    yield section("Top companies", "companies", _visitors(report))
    yield element("div", *_breakdowns(report), class_="columns")
    yield section("Credits and quota", "use", *use(report))


def section(title: str, name: str, *inside: str) -> Markup:
    """Make a section of the page, under its heading."""
    return element("section", element("h2", title, id=name), *inside, aria_labelledby=name)


_HEADLINES: tuple[tuple[str, Callable[[float | None], str]], ...] = (
    ("Visits", count),
    ("Companies", count),
    ("New companies", count),
    ("Re-engaged companies", count),
    ("Minutes per visit", minutes),
    ("Pages per visit", decimal),
)


def _headlines(report: Report) -> Iterator[HeadlineCard]:
    now, before = _values(report.totals), _values(report.totals_before)
    for (name, write), value, old in zip(_HEADLINES, now, before, strict=True):
        yield HeadlineCard(name, value, old, write)


def _values(of: Totals | None) -> tuple[float | None, ...]:
    """Return the numbers in the order of the headlines."""
    if of is None:
        return (None,) * len(_HEADLINES)
    return of.visits, of.companies, of.new, of.reengaged_companies, of.visit_length, of.page_depth


def _comparison(report: Report) -> str:
    before, first_day = report.before, report.coverage.first_day
    if report.totals_before is not None:
        return f"Compared with the {number_of(before.days, 'day')} before, {days(before.start, before.end)}."
    begins = (
        f"the database begins on {long_day(first_day)}" if first_day else "the database does not say where it begins"
    )
    return f"Not compared with the {number_of(before.days, 'day')} before: {begins}."


def _visits(report: Report) -> Iterator[Markup]:
    if not report.totals.visits:
        yield element("p", "No visits in these days.")
        return
    yield element("ul", *_legend(report), class_="legend")
    yield visits_chart(report.spans, report.step)
    table = spans_table(report.spans, f"Visits per {report.step}")
    yield element("details", element("summary", "The chart as a table"), table)


def _legend(report: Report) -> Iterator[Markup]:
    totals = report.totals
    sums = (totals.returning, totals.reengaged, totals.new, totals.unidentified)
    for (key, name), number in zip(VISIT_CATEGORIES, sums, strict=True):
        if number or key != "unidentified":
            swatch = element("span", class_=f"swatch {key}")
            yield element("li", swatch, f"{name} ", element("strong", count(number)))


def _visitors(report: Report) -> Markup:
    if not report.visitors:
        return element("p", "No company was recognised in these days.")
    return visitors_table(report)


def _breakdowns(report: Report) -> Iterator[Markup]:
    visits = report.totals.visits
    parts = (
        ("Landing pages", "landing", report.landing_pages, ("landing page", "landing pages", "Unknown")),
        ("Sources and mediums", "sources", report.sources, ("source", "sources", "Direct or unknown")),
        ("Countries", "countries", report.countries, ("country", "countries", "Unknown")),
    )
    for title, name, breakdown, words in parts:
        shown = breakdown_table(breakdown, *words, visits) if breakdown.shares else element("p", "No visits.")
        yield section(title, name, shown)


def _footer(report: Report) -> Markup:
    begins = f", which begins on {long_day(report.coverage.first_day)}" if report.coverage.first_day else ""
    synced = f"Synced {moment(report.coverage.finished_at)}. " if report.coverage.finished_at else ""
    return joined(
        element("h2", "How it is counted"),
        element(
            "p",
            f"New: the first visit of a company in this database{begins}; earlier visits are not known. ",
            "Re-engaged: a visit after 30 days or more without one. Returning: every other visit of a known company. ",
            "Unknown: no company was recognised. Minutes and pages are as Leadfeeder measured them.",
        ),
        element(
            "p",
            f"All days and times are UTC. {synced}",
            f"Written {moment(report.written_at)} by leadfeeder_async {__version__}.",
        ),
    )
