"""`redct sample`: chooses the documents of a round, and says what was chosen and what more answers would bring."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from redct.cli.show import show_table
from redct.errors import InputError
from redct.evidence.doubts import Doubt, doubted_answers
from redct.experts import RANDOMISED, STRATEGIES, Ledger, Round, look_again, seconds_per_document, waiting
from redct.hub.store import LabelTable
from redct.hub.times import duration
from redct.training.corpus import LabeledCorpus
from redct.training.datamodule import LabeledTextDataModule
from redct.training.forecast import forecast

WHY_RANDOMISED = (
    "Use margin_randomised, the default: it puts the documents of which the LLM is least sure before the experts, and "
    "there their labels help training most. And since every document has a known chance, of which a share is uniform, "
    "the same answers give valid estimates of prevalence and accuracy, which no deterministic choice does."
)
STRATEGY_HELP = "data.experts.strategy is one of " + "; ".join(
    f"{name} ({strategy.help})" for name, strategy in STRATEGIES.items()
)

Source = Literal["corpus", "suspects"]


def add_flags(parser: Any) -> None:  # noqa: ANN401 - jsonargparse's parser
    """Adds the flags to the parser of `sample` that are no names in Python."""
    help_text = (
        "corpus, or suspects: answers of people that the LLM makes look wrong (see redct test), the most suspect "
        "first, for a second look; the draw that they come from, and its chances, stay as they are (a gold label that "
        "looks wrong is corrected in its file: one changed by what the classifiers say would no longer judge them)"
    )
    parser.add_argument("--from", type=Source, default="corpus", help=help_text)


def choose_round(
    datamodule: LabeledTextDataModule, number: int | None, edge_probs: Callable[[], npt.NDArray[np.float64]]
) -> None:
    """Chooses the documents of a round, or finds it recorded, and tells about it.

    Args:
        datamodule: The study's documents.
        number: Which round, see `choose_for_experts`.
        edge_probs: Gives the edge classifier's label distributions, should the strategy need them.
    """
    corpus = datamodule.corpus
    corpus.asking.evidence["edge_probs"] = edge_probs
    documents, table = corpus.splits().train.documents, corpus.own_labels()
    corpus.asking.so_far(documents)  # refused before anything is recorded, should an answer be of another codebook
    chosen = corpus.asking.choose(documents, table, number)
    for note in [*corpus.splits().notes, *dict.fromkeys(corpus.notes)]:
        print(note)
    _show(chosen, table)
    _say_what_fit_uses(corpus)
    with Ledger(corpus.asking.ledger) as ledger:
        seconds = seconds_per_document(ledger.answers())
        if seconds is not None:
            print(f"by what a document has taken so far ({seconds:.0f} s): {duration(seconds * len(chosen.ids))}")
        for line in forecast(ledger, documents, table, corpus.seed):
            print(line)


def queue_suspects(corpus: LabeledCorpus, number: int | None) -> None:
    """Queues answers that look wrong for a second look, and tells about it.

    Args:
        corpus: The study.
        number: Of a round, which a second look is not told by.

    Raises:
        InputError: When there is such a number, the study has no experts, or the LLM was not asked about all documents.
    """
    if number is not None:
        raise InputError(f"--round: found {number} with --from suspects, expected it without; rounds are of the corpus")
    if corpus.experts is None:
        raise InputError("data.experts: found nothing, expected a budget, such as {budget: 0.1}")
    doubts = doubted_answers(corpus)
    if not corpus.asking.ledger.exists():
        print(_nobody(corpus))
        return
    documents = corpus.splits().train.documents
    with Ledger(corpus.asking.ledger, create=False) as ledger:
        found = look_again(corpus.experts, [doubt.id for doubt in doubts], documents, ledger)
        if found is not None:
            _show_look(found, doubts, waiting([found], ledger.answers()))
            _say_what_fit_uses(corpus)
        elif not corpus.asking.so_far(documents).shares:
            print(_nobody(corpus))
        else:
            print("no answer looks wrong that had no second look yet (to tell takes two labels with 5 answers each)")


def _nobody(corpus: LabeledCorpus) -> str:
    assert corpus.experts is not None
    if corpus.experts.answers == "ledger":
        return "nobody has answered yet, so no answer is suspect: redct annotate first"
    what = "the gold column stands" if corpus.experts.answers == "gold" else f"{corpus.experts.answers} stands"
    return f"{what} for the experts (data.experts.answers) and people have not answered: correct what is wrong there"


def _say_what_fit_uses(corpus: LabeledCorpus) -> None:
    if corpus.experts is not None and corpus.experts.answers != "ledger":
        print(f"data.experts.answers is {corpus.experts.answers}; fit uses people's answers where it is ledger")


def _show_look(found: Round, doubts: Sequence[Doubt], left: Sequence[str]) -> None:
    """Prints what is suspected of the documents that wait for a second look, and where they are settled."""
    asked = Counter((doubt.label, doubt.likelier) for doubt in doubts if doubt.id in {*left})
    title = f"second look {found.parameters['round']}: {len(found.ids):,} documents, {len(left):,} still to settle"
    show_table(title, ["answer", "or rather", "documents"], [[*pair, f"{n:,}"] for pair, n in asked.most_common()])
    print("settle them under Adjudicate (redct annotate), or in a table (redct exchange --queue --to FILE)")
    print("estimates keep the first draw and its chances, but lean to the LLM: only what it contradicts is checked")


def _show(chosen: Round, table: LabelTable) -> None:
    """Prints how many documents of each LLM label were chosen, and with which chances."""
    place = {document: n for n, document in enumerate(table.ids)}
    at = np.array([place[document] for document in chosen.ids], dtype=np.int64)
    rows = []
    for label, name in [*enumerate(table.labels), (-1, "(no label)")]:
        of_all, of_chosen = int((table.label == label).sum()), int((table.label[at] == label).sum())
        if of_all or label >= 0:
            rows.append([name, f"{of_all:,}", f"{of_chosen:,}"])
    title = f"round {chosen.parameters['round']}: {len(at):,} documents, by {chosen.strategy}"
    show_table(title, ["LLM label", "documents", "chosen"], rows)
    if chosen.strategy in RANDOMISED:
        least = min(chosen.inclusion.values())
        print(f"every document had a known chance (of the chosen ones, {least:.3f} or more): fit for estimates")
    else:
        print("a deterministic choice: good for training, but unfit for estimates about the whole corpus")
