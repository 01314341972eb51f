"""The number of examples of tests whose examples are slow."""

from __future__ import annotations

from hypothesis import settings

DEFAULT_EXAMPLES = 60
"""The number of examples of the default profile."""


def examples(count: int) -> int:
    """Return ``count`` for the default profile of Hypothesis, and in proportion more or less for the others."""
    return max(1, count * settings().max_examples // DEFAULT_EXAMPLES)
