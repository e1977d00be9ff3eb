import math

import pytest

from redct.documents import Document
from redct.errors import InputError
from redct.hub.remote.exchange import Reply, Request, Usage
from redct.hub.remote.questions import Questions, answer_form
from redct.hub.rows import LabelRow
from redct.task import Task

TASK = Task(labels=["for", "against"])
DOCUMENT = Document("d0", "text", {}, None)
KNOWN = Reply(["for"], "stop", None, [("for", math.log(0.75)), ("against", math.log(0.25))], Usage(10, 1))
BLANK = Reply(["for"], "stop", None, None, Usage(10, 1))


def asked(questions: Questions, *replies: Reply) -> tuple[list[Request], LabelRow]:
    """Plays an interview, the last reply again and again."""
    interview, requests, left = questions.about(DOCUMENT), [], [*replies]
    try:
        request = next(interview)
        while True:
            requests.append(request)
            request = interview.send(left.pop(0) if len(left) > 1 else left[0])
    except StopIteration as end:
        return requests, end.value


def test_auto_takes_log_probabilities_where_there_are_any() -> None:
    questions = Questions(TASK, "auto", "label", 3)
    requests, row = asked(questions, KNOWN)
    assert [request.purpose for request in requests] == ["label"]
    assert questions.distribution == "logprobs"
    assert (row.label, row.source, row.prompt_tokens) == ("for", "logprobs", 10)
    assert row.probs == pytest.approx([0.75, 0.25])
    requests, row = asked(questions, BLANK)  # this document's fault, since others had some
    assert [request.purpose for request in requests] == ["label", "label 2", "label 3"]
    assert row.error == "malformed: the reply has no log-probabilities"
    assert row.prompt_tokens == 30


def test_auto_falls_back_on_samples_and_remembers() -> None:
    questions = Questions(TASK, "auto", "label", 3)
    requests, row = asked(questions, BLANK)
    assert [request.want for request in requests] == ["logprobs"] * 3 + ["samples"] * 3
    assert [request.samples for request in requests[3:]] == [3, 2, 1]
    assert (questions.distribution, row.source, row.completion_tokens) == ("samples", "samples", 6)
    assert [request.want for request in asked(questions, BLANK)[0]] == ["samples"] * 3


def test_a_resumed_study_knows_that_there_were_log_probabilities() -> None:
    row = asked(Questions(TASK, "logprobs", "label", 3, seen_logprobs=True), BLANK)[1]
    assert row.error == "malformed: the reply has no log-probabilities"
    with pytest.raises(InputError, match="gives no log-probabilities; expected samples"):
        asked(Questions(TASK, "logprobs", "label", 3), BLANK)


def test_one_strange_document_does_not_decide_for_all() -> None:
    questions = Questions(TASK, "auto", "label", 3)
    for reply in (Reply([]), Reply([""], "length"), Reply(["x"], "content_filter"), Reply([""], refusal="No.")):
        assert asked(questions, reply)[1].error
        assert questions.distribution == "auto"


def test_samples_count_as_votes_whatever_they_say() -> None:
    questions = Questions(TASK, "samples", "label", 4)
    requests, row = asked(questions, Reply(["For", "", "perhaps", "against"], usage=Usage(10, 4)))
    assert len(requests) == 1
    assert row.unlabeled_mass == 0.5
    assert row.margin == 0
    assert asked(questions, Reply(["perhaps"] * 4))[1].error.startswith("unlabeled: ")
    assert asked(questions, Reply([]))[1].error == "malformed: no choices in the reply"
    assert len(asked(questions, Reply([]))[0]) == 7


def test_a_stated_confidence_is_asked_for_again_where_the_form_is_wrong() -> None:
    questions = Questions(TASK, "stated", "label", 1)
    good = Reply(['{"label": "against", "confidence": 90}'], "stop", usage=Usage(20, 9))
    requests, row = asked(questions, Reply(["Against!"], "stop", usage=Usage(20, 9)), good)
    assert [request.purpose for request in requests] == ["stated", "stated 2"]
    assert (row.label, row.source, row.prompt_tokens) == ("against", "stated", 40)
    assert row.probs == pytest.approx([0.1, 0.9])
    assert asked(questions, Reply(["Against!"], "stop"))[1].error.startswith("unlabeled: ")


@pytest.mark.parametrize(
    ("labels", "form"),
    [
        (["for", "against"], "label"), (["agree", "Against"], "letter"), (["1", "2"], "label"), (["-1", "1"], "letter"),
        (["\u00e4", "b"], "letter"), (["yes", "yes, but"], "letter"),
    ],
)  # fmt: skip
def test_letters_stand_in_for_labels_that_are_alike(labels, form) -> None:
    task = Task(labels=labels)
    assert answer_form(task, "auto") == form
    assert answer_form(task, "letter") == "letter"
    if form == "letter":
        with pytest.raises(InputError, match=r"labeler\.answer"):
            answer_form(task, "label")
    apart = Task(labels=labels, verbalizers=dict(zip(labels, ["x", "y"], strict=True)))
    assert answer_form(apart, "label") == "label"


def test_too_many_labels_for_letters_are_refused() -> None:
    with pytest.raises(InputError, match="26"):
        answer_form(Task(labels=[f"a{n}" for n in range(27)]), "auto")
