"""Read a report page in tests."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET


def body_of(page: str) -> ET.Element:
    """Return the body of a page. It must be valid XML, so a value that breaks the markup fails the test."""
    body = re.search(r"<body>.*</body>", re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL), re.DOTALL)
    assert body
    return ET.fromstring(body[0])


def text_of(element: ET.Element) -> str:
    """Return the text of an element with single spaces."""
    return " ".join("".join(element.itertext()).split())


def table_in(body: ET.Element, section: str, index: int = 0) -> list[list[str]]:
    """Return the cells of a table by rows, without the header row."""
    table = body.findall(f".//section[@aria-labelledby='{section}']//table")[index]
    return [[text_of(cell) for cell in row] for row in table.findall("./tbody/tr") + table.findall("./tfoot/tr")]


def headlines_of(body: ET.Element) -> dict[str, list[str]]:
    """Return the value and the change of each headline number by its name."""
    cards = body.findall(".//section[@aria-labelledby='glance']/dl/div")
    return {text_of(card[0]): [text_of(part) for part in card[1:]] for card in cards}
