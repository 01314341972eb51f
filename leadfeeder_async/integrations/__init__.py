"""Integrations with other libraries. Each module imports the library of its own extra."""
