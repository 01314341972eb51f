"""Headline numbers, each with its change since the period before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec

from leadfeeder_async.report.html import Markup, element, joined


class HeadlineCard(msgspec.Struct, frozen=True):
    """One headline number."""

    name: str
    now: float | None
    before: float | None
    """None where there is nothing to compare with."""
    write: Callable[[float | None], str]


def tiles(shown: Iterable[HeadlineCard]) -> Markup:
    """Show headline numbers side by side."""
    return element("dl", *(_tile(one) for one in shown), class_="tiles")


def _tile(one: HeadlineCard) -> Markup:
    value = element("dd", one.write(one.now), class_="value")
    return element("div", element("dt", one.name), value, _change(one))


def _change(one: HeadlineCard) -> Markup:
    """Say how a number changed: in words for the ear, with an arrow for the eye."""
    if one.now is None or one.before is None:
        return Markup()
    before = one.write(one.before)
    per_cent = 100 * (one.now - one.before) / one.before if one.before else math.copysign(math.inf, one.now)
    if one.now == one.before or abs(per_cent) < 0.05:
        return element("dd", f"as before, {before}", class_="change")
    word, arrow = ("up", "▲") if per_cent > 0 else ("down", "▼")
    much = f"{abs(per_cent):,.1f} % " if math.isfinite(per_cent) else ""
    said = joined(element("span", arrow, aria_hidden="true"), " ", element("span", f"{word} ", class_="unseen"))
    return element("dd", said, f"{much}from {before}", class_=f"change {word}")
