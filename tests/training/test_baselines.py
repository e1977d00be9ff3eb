"""What the baselines learn from."""

import numpy as np

from redct.documents import Document
from redct.hub.store import LabelTable
from redct.training.baselines import EXPERTS_ONLY, NAIVE, experts_only_parts, naive_parts, nothing_new, taught
from redct.training.length import suitable_epochs
from redct.training.parts import Part


def part(start: int, sources: str, label: list[int], weight: float = 1) -> Part:
    """Documents whose labels come from the LLM (l), an expert (e) or gold (g), with soft targets."""
    names = {"l": "llm", "e": "expert", "g": "gold"}
    documents = [Document(f"d{n}", f"text {n}", {}, None) for n in range(start, start + len(sources))]
    target = np.eye(3, dtype=np.float32)[label] * 0.7 + np.float32(0.1)
    weights = np.full(len(sources), weight, dtype=np.float32)
    return Part(documents, target, np.array(label), weights, [names[each] for each in sources])


def said(label: list[int]) -> LabelTable:
    """The LLM's labels of d0, d1, ...; -1 is an error."""
    probs = np.where(np.array(label)[:, None] < 0, np.nan, np.eye(3)[label] * 0.4 + 0.2).astype(np.float32)
    margin = np.ones(len(label), dtype=np.float32)
    return LabelTable(
        ["a", "b", "c"], [f"d{n}" for n in range(len(label))], np.array(label), probs, np.log(probs), margin
    )


def ids(part: Part) -> list[str]:
    return [document.id for document in part.documents]


def test_naive_learns_from_what_the_llm_said_itself() -> None:
    study = {"train": part(0, "lele", [0, 1, 2, 2]), "validation": part(4, "ee", [1, 0], weight=3)}
    own = naive_parts(study, said([1, 0, 2, -1, 2, 0]))
    assert (ids(own["train"]), ids(own["validation"])) == (["d0", "d1", "d2"], ["d4", "d5"])
    np.testing.assert_array_equal(own["train"].target, np.eye(3)[[1, 0, 2]])
    np.testing.assert_array_equal(own["train"].label, [1, 0, 2])
    np.testing.assert_array_equal(own["validation"].label, [2, 0])
    np.testing.assert_array_equal(own["validation"].weight, [3, 3])
    assert {*own["train"].source, *own["validation"].source} == {"llm"}
    gold = part(9, "gg", [1, 0])
    assert naive_parts(study | {"validation": gold}, said([1, 0, 2, -1]))["validation"] is gold


def test_experts_only_learns_from_nothing_of_the_llm() -> None:
    study = {"train": part(0, "lele", [0, 1, 2, 2]), "validation": part(4, "ll", [1, 0])}
    own = experts_only_parts(study)
    assert ids(own["train"]) == ids(own["validation"]) == ["d1", "d3"]
    np.testing.assert_array_equal(own["train"].target, study["train"].target[[1, 3]])
    for source in "eg":
        validation = part(4, 2 * source, [1, 0])
        assert experts_only_parts(study | {"validation": validation})["validation"] is validation


def test_what_is_nothing_new() -> None:
    study = {"train": part(0, "lll", [0, 1, 2]), "validation": part(3, "l", [0])}
    llm = said([0, 1, 2, 0])
    assert nothing_new(NAIVE, naive_parts(study, llm), study) is None  # hard where the study's are soft
    hard = naive_parts(study, llm)
    assert nothing_new(NAIVE, naive_parts(hard, llm), hard) == "its targets are the study's own"
    why = nothing_new(EXPERTS_ONLY, experts_only_parts(study), study)
    assert why == "no document of the training has an expert's answer"


def test_a_fingerprint_tells_targets_validation_and_settings() -> None:
    study = {"train": part(0, "lll", [0, 1, 2]), "validation": part(3, "l", [0])}
    other = [study | {"train": part(0, "lll", [0, 1, 1])}, study | {"validation": part(3, "l", [1])}]
    assert len({taught(study, 1), taught(study, 2), *(taught(each, 1) for each in other)}) == 4
    assert taught(study, 1) == taught(dict(study), 1)


def test_few_documents_are_seen_more_often_in_no_more_steps() -> None:
    assert suitable_epochs(4, epochs=30, steps=30 * 38) == 75  # 300 steps
    assert suitable_epochs(4, epochs=2, steps=2 * 38) == 19
    assert suitable_epochs(30, epochs=30, steps=30 * 38) == 30
