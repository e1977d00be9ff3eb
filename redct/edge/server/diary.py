"""What was answered, in counts without a text, for `classify.py drift`: a summary of every day."""

import time
from pathlib import Path
from threading import Lock

from redct.edge.runtime import Bundle, Classified, Summary, add, add_summary, read_summaries, summarise
from redct.edge.server.failures import log_failure

EVERY = 60.0  # seconds after which counts are written


class Diary:
    """The summaries of a server's answers, in a folder that other servers of the same bundle may share.

    Args:
        folder: The folder; it is made where it does not exist.
        bundle: What answers.

    Raises:
        BundleError: When the folder holds another bundle's summaries.
        OSError: When it cannot be made.
    """

    def __init__(self, folder: str, bundle: Bundle) -> None:
        self._folder, self._digest = Path(folder), bundle.info["sha256"]
        self._folder.mkdir(parents=True, exist_ok=True)
        read_summaries(self._folder, self._digest)
        self._lock = Lock()
        self._empty: Summary = summarise(bundle.classify([]))
        self._counts = self._empty
        self._written = time.monotonic()

    def note(self, found: Classified) -> None:
        """Counts documents."""
        with self._lock:
            self._counts = add(self._counts, summarise(found))
        if time.monotonic() - self._written > EVERY:
            self.write()

    def write(self) -> None:
        """Writes what has been counted; where that fails, it is tried again with what comes next."""
        with self._lock:
            self._written = time.monotonic()
            try:
                add_summary(self._folder, self._digest, self._counts)
            except Exception as error:  # a full disk, a file that somebody altered: no reason not to answer
                log_failure(f"summary in {self._folder}", error)
            else:
                self._counts = self._empty
