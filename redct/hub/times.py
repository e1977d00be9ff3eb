"""How long labeling took: wall time, noted part by part, so that neither a kill nor another run loses it."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

Lap = dict[str, str | int | float]


class Clock:
    """Measures what each part of a label store took.

    Args:
        run: Names the run, the same for all its processes, such as by the time at which it began.
        rank: This process.
        processes: Number of processes.
    """

    def __init__(self, run: str, rank: int = 0, processes: int = 1) -> None:
        self._lap: Lap = {"run": run, "rank": rank, "processes": processes}
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the last part."""
        return time.monotonic() - self._since

    def lap(self) -> Lap:
        """Returns what the part that ends now took, for its sidecar, and begins the next."""
        seconds, self._since = self.seconds, time.monotonic()
        return self._lap | {"seconds": round(seconds, 3)}


def labeling_time(sidecars: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Adds up what the parts of a store took.

    Processes of a run work at the same time, so that a run takes as long as the longest of them; runs follow each
    other. Loading a model is not counted, nor what a killed run did since its last part.

    Args:
        sidecars: Of all parts; those that an earlier version wrote have no time.

    Returns:
        The manifest's `time`: wall time in seconds, the documents that were labeled in it and how many of them a
        second (None in no time at all), runs, and the most processes of a run; None where no part has a time.
    """
    runs: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    documents, processes = 0, 0
    for sidecar in sidecars:
        if lap := sidecar.get("time"):
            runs[lap["run"]][lap["rank"]] += lap["seconds"]
            documents, processes = documents + sidecar["rows"], max(processes, lap["processes"])
    if not runs:
        return None
    seconds = round(sum(max(each.values()) for each in runs.values()), 3)
    rate = round(documents / seconds, 3) if seconds else None
    counts = {"runs": len(runs), "processes": processes}
    return {"seconds": seconds, "documents": documents, "documents_per_second": rate, **counts}


def duration(seconds: float) -> str:
    """Returns a time in words."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def time_in_words(time: Mapping[str, Any] | None, documents: int) -> str:
    """Returns what `labeling_time` found.

    Args:
        time: The `time` of a store's manifest; None in one of an earlier version.
        documents: Documents in the store.
    """
    if time is None:
        return "time not recorded"
    rate = time["documents_per_second"]
    text = duration(time["seconds"]) + (f", {rate:,.{1 if rate >= 1 else 3}f} documents a second" if rate else "")
    for what in ("runs", "processes"):
        text += f", {time[what]} {what}" if time[what] > 1 else ""
    untimed = documents - time["documents"]
    return text + (f"; that of {untimed:,} documents was not recorded" if untimed else "")
