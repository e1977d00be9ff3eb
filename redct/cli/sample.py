"""`redct sample`: chooses the documents of a round, and says what was chosen and what more answers would bring."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from redct.cli.show import show_table
from redct.experts import RANDOMISED, STRATEGIES, Ledger, Round, seconds_per_document
from redct.hub.store import LabelTable
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
    if corpus.experts is not None and corpus.experts.answers != "ledger":
        print(f"data.experts.answers is {corpus.experts.answers}; fit uses people's answers where it is ledger")
    with Ledger(corpus.asking.ledger) as ledger:
        seconds = seconds_per_document(ledger.answers())
        if seconds is not None:
            minutes = seconds * len(chosen.ids) / 60
            print(f"by what a document has taken so far ({seconds:.0f} s): {minutes:.0f} minutes")
        for line in forecast(ledger, documents, table, corpus.seed):
            print(line)


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
