from redct.experts import Answer, verdicts

LABELS = ["a", "b", "c"]


def about_x(*answers: Answer):
    return verdicts(answers).get("x")


def ann(kind: str = "label", label: str | None = None, note: str = "", who: str = "ann") -> Answer:
    return Answer("x", who, kind, label, note)


def test_the_latest_answer_of_an_annotator_stands() -> None:
    verdict = about_x(ann(label="a"), ann(label="b", who="bob"), ann(label="c"))
    assert verdict.votes == {"ann": "c", "bob": "b"}
    assert verdict.shares(LABELS).tolist() == [0, 0.5, 0.5]
    assert verdict.disputed
    assert verdict.left_out() is None


def test_an_undone_answer_leaves_none() -> None:
    assert about_x(ann(label="a"), ann("undo")) is None
    assert about_x(ann(label="a"), ann(label="b", who="bob"), ann("undo")).votes == {"bob": "b"}
    assert about_x(ann("undo"), ann(label="a")).votes == {"ann": "a"}


def test_skips_and_flags_leave_a_document_out() -> None:
    skipped = about_x(ann("skip"))
    assert (skipped.left_out(), skipped.shares(LABELS)) == ("skipped", None)
    assert about_x(ann("skip"), ann(label="a", who="bob")).left_out() is None
    flagged = about_x(ann("flag", note="cut off"), ann(label="a", who="bob"))
    assert (flagged.left_out(), flagged.flagged) == ("flagged", {"ann": "cut off"})
    assert about_x(ann("flag"), ann(label="a")).left_out() is None


def test_a_resolution_settles_everything_until_it_is_reopened() -> None:
    said = [ann(label="a"), ann(label="b", who="bob"), ann("flag", who="cleo"), ann("resolution", "b", who="dan")]
    verdict = about_x(*said)
    assert verdict.shares(LABELS).tolist() == [0, 1, 0]
    assert not verdict.disputed
    assert verdict.left_out() is None
    assert about_x(*said, ann("reopen", who="ann")).disputed
    assert about_x(ann("resolution", "b"), ann("reopen")) is None


def test_documents_do_not_mix() -> None:
    found = verdicts([Answer("x", "ann", label="a"), Answer("y", "ann", "resolution", "b"), Answer("z", "ann", "undo")])
    assert {document: verdict.shares(LABELS).tolist() for document, verdict in found.items()} == {
        "x": [1, 0, 0],
        "y": [0, 1, 0],
    }
