"""Checks of the public surface: names, documentation pages, examples and the wheel."""
