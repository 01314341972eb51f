"""The lines of CSV files."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leadfeeder_async.jobs.csv_format import csv_lines

TEXT = st.text(st.sampled_from(',;"\r\n \t\0\x0b\x85aé\u2028')) | st.text()
CELL = TEXT | st.none() | st.integers() | st.floats() | st.booleans()


@pytest.mark.parametrize("delimiter", [",", ";"])
@given(rows=st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=4))
@example(rows=[[None]])
@example(rows=[[""]])
@example(rows=[["", None]])
def test_lines_equal_those_of_csv_writer(delimiter: str, rows: list[list[object]]) -> None:
    """The library and ``csv.writer`` write the same characters."""
    expected = io.StringIO(newline="")
    csv.writer(expected, delimiter=delimiter).writerows(rows)
    assert "".join(csv_lines(rows, delimiter)) == expected.getvalue()
