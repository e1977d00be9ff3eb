"""A queue: documents in a fixed order, of which some are wanted, and some of those done."""

import heapq
from collections.abc import Iterable
from enum import IntEnum


class State(IntEnum):
    """Where a document stands in a queue."""

    OUT = 0
    PENDING = 1
    DONE = 2


class Queue:
    """Knows at any time how many documents are wanted and done, and which comes next, without looking at all of them.

    Attributes:
        total: Documents that are wanted, done or not.
        done: Those that are done.

    Args:
        order: The documents in the order to ask; all are out at first.
    """

    def __init__(self, order: Iterable[str] = ()) -> None:
        self.total = self.done = 0
        self._order = list(order)
        self._place = {document: place for place, document in enumerate(self._order)}
        self._states = bytearray(len(self._order))
        # Places that were pending at some time, the smallest first; those that are no longer are dropped on the way.
        self._pending: list[int] = []

    def put(self, document: str, state: State) -> None:
        """Says where a document stands now; one that was not in the order comes to its end."""
        place = self._place.setdefault(document, len(self._order))
        if place == len(self._order):
            self._order.append(document)
            self._states.append(State.OUT)
        before = self._states[place]
        if state == before:
            return
        self._states[place] = state
        self.total += (state != State.OUT) - (before != State.OUT)
        self.done += (state == State.DONE) - (before == State.DONE)
        if state == State.PENDING:
            heapq.heappush(self._pending, place)

    def state(self, document: str) -> State:
        """Returns where a document stands."""
        place = self._place.get(document)
        return State.OUT if place is None else State(self._states[place])

    def first(self) -> str | None:
        """Returns the first pending document; None when all are done."""
        while self._pending and self._states[self._pending[0]] != State.PENDING:
            heapq.heappop(self._pending)
        return self._order[self._pending[0]] if self._pending else None

    def beside(self, document: str | None, step: int) -> str | None:
        """Returns the wanted document after (step 1) or before (step -1) another; None stands for the end."""
        place = len(self._order) if document is None else self._place.get(document, -1)
        places = range(place + 1, len(self._order)) if step > 0 else range(place - 1, -1, -1)
        return next((self._order[p] for p in places if self._states[p] != State.OUT), None)
