"""`redct annotate`: a local web page on which experts label the chosen documents. Needs no torch."""

from collections.abc import Sequence
from dataclasses import fields

from jsonargparse import ArgumentParser

from redct.cli.studyfile import chosen_documents, read_study
from redct.experts import Ledger
from redct.experts.page import PageOptions, Suggestion, serve
from redct.training.corpus import LabeledCorpus


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    corpus, given = read_study(args, "Opens a local web page on which experts label the chosen documents.", _options)
    options = PageOptions(**{field.name: given[field.name] for field in fields(PageOptions)})
    with Ledger(corpus.asking.ledger, create=False) as ledger:
        documents = chosen_documents(corpus, ledger)
    if corpus.experts is not None and corpus.experts.answers == "gold":
        print("data.experts.answers is gold; fit uses what is answered here where it is ledger")
    suggestions = _suggestions(corpus) if options.show_suggestion else {}
    serve(corpus.asking.ledger, documents, corpus.task, suggestions, options)


def _options(parser: ArgumentParser) -> None:
    parser.add_class_arguments(PageOptions)


def _suggestions(corpus: LabeledCorpus) -> dict[str, Suggestion]:
    table = corpus.own_labels()
    found = zip(table.ids, table.label, table.probs, strict=True)
    return {i: Suggestion(table.labels[label], float(probs[label])) for i, label, probs in found if label >= 0}
