"""Whether the machines of a study may stand in for its experts, on documents that several of these labeled."""

from collections.abc import Mapping
from contextlib import suppress

from redct.errors import InputError
from redct.evidence.edge_labels import EdgeLabels, out_of_fold_labels
from redct.evidence.predictions import Predictions
from redct.evidence.raters import EDGE, LLM
from redct.evidence.substitution import Ceiling, Substitution, human_ceiling, stand_in_test
from redct.experts import Ledger, votes_of_people
from redct.training.corpus import LabeledCorpus


def stand_ins(
    corpus: LabeledCorpus, tested: Predictions, encoder: str | None = None
) -> tuple[dict[str, Ceiling], dict[str, Substitution]]:
    """Compares LLM and edge classifier with the experts.

    The edge classifier learned from the experts' answers: on documents of the corpus its labels count out of fold, on
    held-out ones as they are.

    Args:
        corpus: The study.
        tested: What both said about the held-out documents.
        encoder: The edge classifier's; labels out of fold of another one do not count. By default any.

    Returns:
        By machine, how often experts agree and it with them, and the alternative annotator test; without machines of
        which there is nothing to say.
    """
    votes = _votes(corpus)
    if not votes:
        return {}, {}
    machines = {LLM: corpus.said_by_llm(), EDGE: _out_of_fold(corpus, encoder)}
    machines = {name: {**said, **_tested(tested, name)} for name, said in machines.items()}
    ceilings = {name: human_ceiling(votes, said, seed=corpus.seed) for name, said in machines.items()}
    tests = {name: stand_in_test(votes, said, seed=corpus.seed) for name, said in machines.items()}
    return (
        {name: found for name, found in ceilings.items() if found is not None},
        {name: found for name, found in tests.items() if found is not None},
    )


def _out_of_fold(corpus: LabeledCorpus, encoder: str | None) -> Mapping[str, str]:
    kept: EdgeLabels | None = None
    with suppress(InputError):  # without labels or answers, nothing is out of fold
        kept = out_of_fold_labels(corpus)
    if kept is None or encoder not in (None, kept.about["encoder"]):
        return {}
    return dict(zip(kept.ids, kept.label, strict=True))


def _tested(tested: Predictions, name: str) -> Mapping[str, str]:
    if name not in tested.raters:
        return {}
    said = zip(tested.ids, tested.raters[name].label.tolist(), strict=True)
    return {document: tested.labels[k] for document, k in said if k >= 0}


def _votes(corpus: LabeledCorpus) -> dict[str, dict[str, str]]:
    """Of each document that two or more people labeled, their labels."""
    if not corpus.asking.ledger.exists():
        return {}
    with Ledger(corpus.asking.ledger, create=False) as ledger:
        given = votes_of_people(ledger.answers())
    known = set(corpus.task.labels)
    votes = {
        document: {who: label for who, label in each.items() if label in known} for document, each in given.items()
    }
    return {document: each for document, each in votes.items() if len(each) > 1}
