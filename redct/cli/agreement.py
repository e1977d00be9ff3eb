"""`redct agreement`: how far annotators agree, with each other and with the LLM. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from redct.cli.show import show_table
from redct.cli.studyfile import chosen_documents, read_study
from redct.experts import Ledger
from redct.experts.agreement import Agreement, Estimate, Pair, notes, report
from redct.files import write_json


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    corpus, _ = read_study(args, "Says how far annotators agree, with each other and with the LLM.")
    with Ledger(corpus.asking.ledger, create=False) as ledger:
        documents, answers = chosen_documents(corpus, ledger), ledger.answers()
    found = report(answers, corpus.task.labels, corpus.said_by_llm(), corpus.seed)
    show_agreement(found, {document.id: document.text for document in documents.values()})
    path = corpus.folder / "agreement.json"
    write_json(path, asdict(found))
    print(f"all figures: {path}")


def show_agreement(agreement: Agreement, texts: Mapping[str, str] | None = None) -> None:
    """Prints the figures as tables, then what they mean.

    Args:
        agreement: The figures.
        texts: Texts of documents, to show examples of confused labels by.
    """
    if agreement.overlap:
        title = f"Agreement over {agreement.overlap:,} documents with two or more labels [95 % interval]"
        rows = [["all labels", "", _figure(agreement.alpha), _figure(agreement.fleiss)]]
        rows += [
            [each.label, f"{each.votes:,}", _figure(each.alpha), _figure(each.fleiss)] for each in agreement.labels
        ]
        show_table(title, ["label (against the rest)", "votes", "Krippendorff's alpha", "Fleiss' kappa"], rows)
    if agreement.pairs:
        _show_pairs("Annotators with each other [95 % interval]", agreement.pairs)
    if agreement.llm:
        _show_pairs("Annotators with the LLM [95 % interval]", agreement.llm)
    for line in notes(agreement, texts):
        print(line)


def _show_pairs(title: str, pairs: Sequence[Pair]) -> None:
    rows = [
        [f"{pair.first}, {pair.second}", f"{pair.documents:,}", _figure(pair.same), _figure(pair.kappa)]
        for pair in pairs
    ]
    show_table(title, ["who", "documents", "same label", "Cohen's kappa"], rows)


def _figure(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
