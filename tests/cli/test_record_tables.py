"""Column widths and the format of values in tables."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from leadfeeder_async.cli.record_tables import fit_widths, format_value
from leadfeeder_async.jobs.row_cells import decode_row
from tests.cli.command import leadfeeder
from tests.support.servers import http, raw_server


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=9), st.integers(1, 200))
def test_column_widths_fit(columns: list[tuple[int, int]], available: int) -> None:
    """Widths fit the terminal, are never below the minimum, and are reduced only if necessary."""
    natural, minimum = [max(pair) for pair in columns], [min(pair) for pair in columns]
    widths = fit_widths(natural, minimum, available)
    if widths is None:
        assert sum(minimum) > available
    else:
        assert sum(widths) <= max(available, sum(minimum))
        assert all(low <= width <= high for low, width, high in zip(minimum, widths, natural, strict=True))
        assert widths == natural or sum(widths) == available


def test_control_characters_are_removed() -> None:
    """Control characters in a value are not printed."""
    assert format_value("Evil\x1b[2J\nCorp") == "Evil\\u001b[2J Corp"


async def test_numbers_of_any_size_are_shown() -> None:
    """A number outside the range of Python's is shown as it was sent. A row that is not an object is reported."""
    huge = "9" * 30
    body = f'{{"data":[{{"id":"1","type":"tag","attributes":{{"name":{huge}}}}},{huge}]}}'.encode()
    async with raw_server(http(body)) as server:
        environment = {"LEADFEEDER_API_KEY": "k", "LEADFEEDER_BASE_URL": server.url, "LEADFEEDER_ACCOUNT_ID": "1"}
        code, out, error = await leadfeeder(None, "tags", "list", **environment)
    assert (code, f"A row is not a record: '{huge}'" in error) == (5, True)
    assert out.splitlines() == [body.decode()[9 : body.decode().index("},9") + 1]]
    assert format_value(decode_row(huge.encode())) == huge


def test_objects_are_shown_by_name() -> None:
    """Objects in a value are shown by their name, or by their id if they have no name."""
    assert format_value([{"id": "7", "attributes": {"name": "Hot"}}, {"id": "8"}]) == "Hot, 8"
