"""The page on which the experts answer, one document at a time, and settle where they disagree."""

from redct.experts.page.desk import Suggestion
from redct.experts.page.options import PageOptions
from redct.experts.page.process import serve

__all__ = ["PageOptions", "Suggestion", "serve"]
