"""Reading an account into a DuckDB file: dates, pages, rows and the database."""
