"""The report of a study: one HTML file with the evidence, and its numbers as JSON."""

from redct.evidence.report.archive import pack, unpack
from redct.evidence.report.gather import gather
from redct.evidence.report.page import page, write_report

__all__ = ["gather", "pack", "page", "unpack", "write_report"]
