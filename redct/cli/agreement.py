"""`redct agreement`: how far annotators agree, with each other and with the LLM. Needs no torch."""

from collections.abc import Sequence
from dataclasses import asdict

from redct.cli.show import show_table
from redct.cli.studyfile import chosen_documents, read_study
from redct.errors import InputError
from redct.experts import Ledger
from redct.experts.agreement import Agreement, Estimate, notes, report
from redct.files import write_json
from redct.training.corpus import LabeledCorpus


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    corpus, _ = read_study(args, "Says how far annotators agree, with each other and with the LLM.")
    with Ledger(corpus.asking.ledger) as ledger:
        documents, answers = chosen_documents(corpus, ledger), ledger.answers()
    found = report(answers, corpus.task.labels, _said_by_llm(corpus), corpus.seed)
    _show(found)
    for note in notes(found, {document.id: document.text for document in documents.values()}):
        print(note)
    path = corpus.folder / "agreement.json"
    write_json(path, asdict(found))
    print(f"all figures: {path}")


def _said_by_llm(corpus: LabeledCorpus) -> dict[str, str]:
    """Returns the LLM's label of each document; empty where it was not asked about all."""
    try:
        table = corpus.own_labels()
    except InputError:
        return {}
    return {i: table.labels[label] for i, label in zip(table.ids, table.label, strict=True) if label >= 0}


def _show(found: Agreement) -> None:
    if found.alpha is not None:
        rows = [["all labels", f"{found.overlap:,} documents", _words(found.alpha), _words(found.fleiss)]]
        for each in found.labels:
            rows.append([each.label, f"{each.votes:,} votes", _words(each.alpha), _words(each.fleiss)])
        header = ["", "on", "Krippendorff's alpha", "Fleiss' kappa"]
        show_table("agreement of annotators [95 % interval]", header, rows)
    if pairs := [*found.pairs, *found.llm]:
        rows = [[f"{p.first}, {p.second}", f"{p.documents:,}", _words(p.same), _words(p.kappa)] for p in pairs]
        show_table("two by two [95 % interval]", ["", "documents", "same label", "Cohen's kappa"], rows)


def _words(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
