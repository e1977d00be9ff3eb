from collections.abc import Iterator
from pathlib import Path

import pytest
from experts.page.serving import LABELS, choose, made_up
from hypothesis import given, settings
from hypothesis import strategies as st

from redct.errors import InputError
from redct.experts import Answer, Experts, Ledger, look_again, verdicts
from redct.experts.page.desk import Desk, View
from redct.experts.page.options import PageOptions
from redct.experts.page.queue import Queue, State
from redct.experts.records import GOLD, OutdatedError

DOCUMENTS = made_up(40)
IDS = list(DOCUMENTS)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(choose(tmp_path / "l.sqlite", IDS[:25], IDS[25:])) as opened:
        yield opened


def desk(ledger: Ledger, names: list[str] | None = None, overlap: float = 0.0) -> Desk:
    return Desk(ledger, DOCUMENTS, LABELS, PageOptions(annotators=names, overlap=overlap))


def walk(desk: Desk, name: str) -> list[str]:
    """All documents of an annotator, in their order."""
    found: list[str] = []
    view = desk.show(desk.enter(name), None, -1)
    while view.document and (not found or view.document.id != found[0]):
        found.insert(0, view.document.id)
        view = desk.show(name, view.document.id, -1)
    return found


def say(desk: Desk, name: str, kind: str = "label", label: str | None = "for", view: View | None = None) -> str:
    shown = view or desk.show(name)
    assert shown.document is not None
    desk.answer(Answer(shown.document.id, name, kind, label), shown.seen)  # type: ignore[arg-type]
    return shown.document.id


def test_without_names_everybody_is_asked_about_all_in_an_order_of_their_own(ledger: Ledger) -> None:
    anna, ben = walk(desk(ledger), "anna"), walk(desk(ledger), "ben")
    assert sorted(anna) == sorted(ben) == sorted(IDS)
    assert set(anna[:25]) == set(IDS[:25]), "a round is over before the next one begins"
    assert anna[:25] not in (ben[:25], IDS[:25])
    assert walk(desk(ledger), "anna") == anna, "the order is the same after a new start"


@given(names=st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5, unique=True), overlap=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_each_document_is_dealt_to_one_or_to_all(tmp_path_factory, names: list[str], overlap: float) -> None:
    with Ledger(choose(tmp_path_factory.mktemp("l") / "l.sqlite", IDS[:25], IDS[25:])) as ledger:
        at = desk(ledger, names, overlap)
        asked = {name: walk(at, name) for name in names}
    shared = {*IDS[: round(25 * overlap)], *IDS[25 : 25 + round(15 * overlap)]}
    for document in IDS:
        assert sum(document in queue for queue in asked.values()) == (len(names) if document in shared else 1)
    sizes = [len(queue) for queue in asked.values()]
    assert max(sizes) - min(sizes) <= 2, "at most one more in each round"


@given(
    first=st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True),
    then=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True),
    answered=st.lists(st.integers(0, 3), max_size=25),
    overlap=st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=40, deadline=None)
def test_no_document_is_lost_or_asked_about_again_when_others_join(
    tmp_path_factory, first: list[str], then: list[str], answered: list[int], overlap: float
) -> None:
    with Ledger(choose(tmp_path_factory.mktemp("l") / "l.sqlite", IDS[:25], IDS[25:])) as ledger:
        before = desk(ledger, first, overlap)
        for name in first:
            before.enter(name)
        for who in answered:
            if before.show(name := first[who % len(first)]).document:
                say(before, name)
        after = desk(ledger, then, overlap)
        asked = {name: walk(after, name) for name in then}
        waiting = {name: [d for d in walk(after, name) if not after.show(name, d).answer] for name in then}
        stands = verdicts(ledger.answers())
    shared = {*IDS[: round(25 * overlap)], *IDS[25 : 25 + round(15 * overlap)]}
    for document in IDS:
        if document in shared:
            assert all(document in queue for queue in asked.values())
        else:
            assert sum(document in queue for queue in waiting.values()) == (document not in stands)


def test_counts_follow_answers_of_others(ledger: Ledger) -> None:
    at, elsewhere = desk(ledger, ["anna", "ben"]), desk(ledger, ["anna", "ben", "cleo"])
    at.enter("anna"), at.enter("ben"), elsewhere.enter("cleo")
    assert (at.show("anna").total, at.show("ben").total) == (21, 19)
    theirs = next(d for d in walk(elsewhere, "cleo") if d in walk(at, "anna"))
    elsewhere.answer(Answer(theirs, "cleo", label="for"), 0)
    assert (at.show("anna").total, at.show("anna").done, at.show("ben").total) == (20, 0, 19)
    with pytest.raises(InputError, match="a colleague has answered it"):
        at.answer(Answer(theirs, "anna", label="for"), 0)
    elsewhere.answer(Answer(theirs, "cleo", "undo"), 1)
    assert at.show("anna").total == 21


def test_an_answer_is_recorded_once_and_can_be_changed_and_undone(ledger: Ledger) -> None:
    at = desk(ledger)
    at.enter("anna")
    first = say(at, "anna")
    at.answer(Answer(first, "anna", label="for"), 0)  # a second click, or a retry after a lost reply
    second = say(at, "anna", "skip", None)
    with pytest.raises(OutdatedError):
        at.answer(Answer(first, "anna", label="against"), 0)  # a tab that knows of no answer
    at.answer(Answer(first, "anna", label="against"), at.show("anna", first).seen)
    assert [(a.document, a.kind, a.label) for a in ledger.answers()] == [
        (first, "label", "for"),
        (second, "skip", None),
        (first, "label", "against"),
    ]
    last = at.show("anna").last
    assert last is not None
    assert (last.document, last.label) == (first, "against"), "the latest answer is undone first, whichever document"
    for expected in (first, second):
        last = at.show("anna").last
        assert last is not None
        assert last.document == expected
        at.answer(Answer(expected, "anna", "undo"), last.number)
        at.answer(Answer(expected, "anna", "undo"), last.number)
    view = at.show("anna")
    assert (view.last, view.done, view.document and view.document.id) == (None, 0, first)
    assert len(ledger.answers()) == 5


def test_pace_and_time_left_follow_from_what_was_measured(ledger: Ledger) -> None:
    at = desk(ledger)
    at.enter("anna")
    assert (at.show("anna").pace, at.show("anna").left) == (None, None)
    for document, seconds in zip(walk(at, "anna"), (1.0, 2.0, 9.0, None), strict=False):
        at.answer(Answer(document, "anna", label="for", duration_seconds=seconds), 0)
    view = at.show("anna")
    assert (view.pace, view.left) == (2.0, 4.0 * 36)


def test_disputes_and_flags_are_settled(ledger: Ledger) -> None:
    at = desk(ledger)
    for name in ("anna", "ben"):
        at.enter(name)
    agreed, disputed, flagged = IDS[:3]
    for document, label in ((agreed, "for"), (disputed, "against"), (flagged, "for")):
        at.answer(Answer(document, "anna", label=label), 0)
        if document != flagged:
            at.answer(Answer(document, "ben", label="for"), 0)
    at.answer(Answer(flagged, "ben", "flag", note="two posts"), 0)
    view = at.show_case("ben")
    assert (view.total, view.done, view.disputes) == (2, 0, 2)
    assert view.document
    assert view.document.id == disputed
    assert [(a.annotator, a.label) for a in view.answers] == [("anna", "against"), ("ben", "for")]
    with pytest.raises(InputError, match="agree"):
        at.resolve(Answer(agreed, "ben", "resolution", "for"), 0)
    at.resolve(Answer(disputed, "ben", "resolution", "neutral"), 0)
    at.resolve(Answer(disputed, "ben", "resolution", "neutral"), 0)
    with pytest.raises(OutdatedError):
        at.resolve(Answer(disputed, "anna", "resolution", "for"), 0)
    view = at.show_case("ben")
    assert view.document
    assert (view.document.id, view.done, view.disputes) == (flagged, 1, 1)
    assert view.answers[1].note == "two posts"
    assert view.last
    assert at.show_case("anna").last is None, "one reopens what one has settled oneself"
    at.resolve(Answer(disputed, "ben", "reopen"), view.last.number)
    assert at.show_case("ben").disputes == 2
    assert verdicts(ledger.answers())[disputed].disputed
    say(at, "anna", label="for", view=at.show("anna", disputed))
    assert at.show_case("ben").total == 1, "who agrees after all leaves nothing to settle"


def test_a_second_look_is_settled_first_though_nobody_disagrees(ledger: Ledger) -> None:
    disputed, agreed, later, first = IDS[:4]
    at = desk(ledger)
    for name in ("anna", "ben"):
        at.enter(name)
        for document in (disputed, agreed, later, first):
            at.answer(Answer(document, name, label="against" if (document, name) == (disputed, "ben") else "for"), 0)
    before = walk(desk(ledger), "anna")
    assert look_again(Experts(), [first, later], list(DOCUMENTS.values()), ledger)
    at = desk(ledger)
    at.enter("ben")
    view = at.show_case("ben")
    assert view.document
    assert (view.document.id, view.total, view.disputes) == (first, 3, 3)
    at.resolve(Answer(first, "ben", "resolution", "against"), 0)
    assert at.show_case("ben").document == DOCUMENTS[later]
    assert verdicts(ledger.answers())[first].resolution == "against"
    settled = at.show_case("ben", first)
    at.resolve(Answer(first, "ben", "reopen"), settled.seen)
    assert at.show_case("ben").document == DOCUMENTS[first], "what is reopened waits again"
    say(at, "ben", view=at.show("ben", later))
    assert at.show_case("ben").total == 3, "saying the same again is no second look"
    say(at, "ben", label="against", view=at.show("ben", later))
    say(at, "ben", label="for", view=at.show("ben", later))
    assert at.show_case("ben").total == 2, "an answer since then is one"
    assert walk(at, "anna") == walk(desk(ledger), "anna") == before, "nobody is asked again"


def test_the_gold_column_is_neither_seen_nor_asked(tmp_path: Path) -> None:
    with Ledger(choose(tmp_path / "l.sqlite", IDS[:3], IDS[5:9], asked="gold")) as ledger:
        ledger.record(Answer(IDS[5], GOLD, label="neutral"))
        at = desk(ledger)
        at.enter("anna")
        assert sorted(walk(at, "anna")) == IDS[5:9], "without a round for experts, the latest of the gold column"
        assert at.names == ["anna"]
        assert at.show("anna").done == 0
        with pytest.raises(InputError, match="gold column"):
            at.enter("Gold")


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "empty.sqlite") as ledger, pytest.raises(InputError, match="run `redct sample`"):
        desk(ledger)
    with (
        Ledger(choose(tmp_path / "l.sqlite", ["lost"])) as ledger,
        pytest.raises(InputError, match="no document 'lost'"),
    ):
        desk(ledger)


def test_names_are_taken_as_they_are_known(ledger: Ledger) -> None:
    at = desk(ledger)
    assert at.enter("  Anna   B. ") == "Anna B."
    assert at.enter("anna b.") == "Anna B."
    listed = desk(ledger, ["Zoë", "李"])
    assert (listed.enter("zoë"), listed.open, listed.names) == ("Zoë", False, ["Zoë", "李"])
    for wrong in ("anna", "", "a\u202eb", "a\0", "x" * 81):
        with pytest.raises(InputError, match="found the name"):
            listed.enter(wrong)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(State)), max_size=60))
@settings(max_examples=200, deadline=None)
def test_a_queue_knows_what_counting_finds(changes: list[tuple[int, State]]) -> None:
    queue, states = Queue(map(str, range(8))), dict.fromkeys(map(str, range(8)), State.OUT)
    for number, state in changes:
        queue.put(str(number), state)
        states[str(number)] = state
        wanted = [d for d, s in states.items() if s != State.OUT]
        assert queue.total == len(wanted)
        assert queue.done == sum(s == State.DONE for s in states.values())
        assert queue.first() == next((d for d, s in states.items() if s == State.PENDING), None)
        order = list(states)
        for place, document in enumerate(order):
            assert queue.beside(document, 1) == next((d for d in order[place + 1 :] if d in wanted), None)
            assert queue.beside(document, -1) == next((d for d in reversed(order[:place]) if d in wanted), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 70000}, "--port: found 70000"),
        ({"overlap": 1.5, "annotators": ["a"]}, "--overlap: found 1.5"),
        ({"overlap": 0.5}, "expected --annotators"),
        ({"annotators": []}, "--annotators: found no name"),
        ({"annotators": ["anna", "Anna"]}, "--annotators: found 'Anna' twice"),
        ({"annotators": ["gold"]}, "--annotators: found the name 'gold'"),
        ({"annotators": [" anna"]}, "--annotators: found ' anna', expected 'anna'"),
        ({"host": "0.0.0.0"}, "--host 0.0.0.0: others reach it, expected --passphrase_env"),
        ({"host": "example.org"}, "--host example.org"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PageOptions(**options)  # type: ignore[arg-type]


def test_a_passphrase_must_be_set_and_long(monkeypatch: pytest.MonkeyPatch) -> None:
    options = PageOptions(host="0.0.0.0", passphrase_env="REDCT_TEST_PHRASE")
    monkeypatch.delenv("REDCT_TEST_PHRASE", raising=False)
    with pytest.raises(InputError, match="--passphrase_env REDCT_TEST_PHRASE: not set"):
        options.passphrase()
    monkeypatch.setenv("REDCT_TEST_PHRASE", "short")
    with pytest.raises(InputError, match="found 5 characters, expected 8 or more"):
        options.passphrase()
    monkeypatch.setenv("REDCT_TEST_PHRASE", "long enough")
    assert options.passphrase() == "long enough"
