"""What went wrong, as it may stand in a log."""

import logging
import traceback

LOG = logging.getLogger("redct.edge.server")


def log_failure(what: str, error: Exception) -> None:
    """Logs where an error came from, but not its message, which might quote a document."""
    LOG.error("%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
