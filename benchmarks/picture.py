"""Draw the chart of the README: CPU time per visit, by client, for light and dark pages."""

from __future__ import annotations

from html import escape

from benchmarks import contenders as c
from benchmarks.measured import Measured

SHOWN = (c.FLOOR, c.BARE, c.OURS, c.ORJSON, c.JSON, c.HTTPX_JSON, c.HTTPX_PYDANTIC, c.OPC, c.OAG)
WIDTH, LEFT, BAR, GAP = 760, 300, 18, 10

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .note { fill: #57606a }
rect { fill: #8c959f } .ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .note { fill: #9198a1 } rect { fill: #656c76 } .ours { fill: #4493f8 } }
"""


def picture(m: Measured) -> str:
    """Return an SVG with one bar per client and its ratio to this package."""
    shown = [(name, m.visits[name].micros.median) for name in SHOWN if name in m.visits]
    ours, longest = m.visits[c.OURS].ratio.median, max(micros for _, micros in shown)
    height = 60 + len(shown) * (BAR + GAP)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            'aria-label="CPU time to read one visit, by client">'
        ),
        f"<style>{STYLE}</style>",
        '<text class="title" x="10" y="22">CPU time to read one visit, microseconds (less is better)</text>',
    ]
    for index, (name, micros) in enumerate(shown):
        top = 40 + index * (BAR + GAP)
        width = max(2, round((WIDTH - LEFT - 130) * micros / longest))
        style_class = ' class="ours"' if name == c.OURS else ""
        ratio = m.visits[name].ratio.median / ours
        lines += [
            f'<text x="{LEFT - 10}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect{style_class} x="{LEFT}" y="{top}" width="{width}" height="{BAR}" rx="2"/>',
            f'<text class="note" x="{LEFT + width + 8}" y="{top + 14}">{micros:.1f} us, {ratio:.1f}x</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
