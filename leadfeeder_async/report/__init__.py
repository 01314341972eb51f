"""Write an HTML report about website visitors from a synced database, as one file to send by email."""

from leadfeeder_async.report.report_data import Report, Totals
from leadfeeder_async.report.write import write_report

__all__ = ["Report", "Totals", "write_report"]
