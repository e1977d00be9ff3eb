"""`redct agreement`: how far annotators agree, with each other and with the LLM. Needs no torch."""

from collections.abc import Sequence
from dataclasses import asdict

from redct.cli.studyfile import chosen_documents, read_study
from redct.errors import InputError
from redct.experts import Ledger
from redct.experts.agreement import notes, report
from redct.files import write_json
from redct.training.corpus import LabeledCorpus


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    corpus, _ = read_study(args, "Says how far annotators agree, with each other and with the LLM.")
    with Ledger(corpus.asking.ledger) as ledger:
        documents, answers = chosen_documents(corpus, ledger), ledger.answers()
    texts = {document.id: document.text for document in documents.values()}
    found = report(answers, corpus.task.labels, _said_by_llm(corpus), corpus.seed)
    print(texts)
    for note in notes(found):
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
