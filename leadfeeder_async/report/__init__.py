"""A report on the visitors of a website, from a synced database: one HTML page that can be mailed."""

from leadfeeder_async.report.report_data import Report, Totals
from leadfeeder_async.report.write import write_report

__all__ = ["Report", "Totals", "write_report"]
