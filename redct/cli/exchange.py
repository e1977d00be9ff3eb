"""`redct exchange`: the experts' documents and answers as files of other tools, and back. Needs no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from redct.cli.studyfile import chosen_documents, read_study
from redct.documents import Document
from redct.errors import InputError
from redct.experts import Answer, Ledger, verdicts, waiting
from redct.experts.exchange import FORMS, UnmatchedError, form_of, take, write
from redct.experts.exchange.intake import SHOWN
from redct.experts.records import GOLD
from redct.training.corpus import LabeledCorpus


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    what = "Writes the documents chosen for experts and all answers to a file, or reads answers from one."
    corpus, given = read_study(args, what, _options)
    if (given.to is None) == (given.take is None):
        raise InputError("redct exchange: expected either --to FILE, to write, or --take FILE, to read")
    with Ledger(corpus.asking.ledger, create=False) as ledger:
        if given.to is not None:
            _write(corpus, ledger, given)
        else:
            _take(corpus, ledger, given.take, given.form, given.annotator, given.partial)


def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--to", type=str | None, help="the file to write, such as queue.xlsx")
    parser.add_argument("--take", type=str | None, help="the file to read answers from")
    parser.add_argument("--form", type=str | None, help=f"{', '.join(FORMS)}; by default the name says it")
    parser.add_argument("--suggestions", action="store_true", help="write the LLM's labels too; they anchor annotators")
    parser.add_argument(
        "--queue",
        action="store_true",
        help="write only what is unanswered (by --annotator) or waits for a second look, no answers",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")
    parser.add_argument("--annotator", type=str | None, help="who answers, where the file does not say")
    parser.add_argument("--partial", action="store_true", help="take what can be matched although other rows cannot")


def _write(corpus: LabeledCorpus, ledger: Ledger, given: Namespace) -> None:
    path, form = Path(given.to), form_of(given.to, given.form)
    if path.exists() and not given.overwrite:
        raise InputError(f"{path}: is there already, and may hold answers; expected another name, or --overwrite")
    documents, answers, again = chosen_documents(corpus, ledger), ledger.answers(), dict[str, Document]()
    if given.queue:
        unanswered = _unanswered(documents, answers, given.annotator)
        looks = [name for name in waiting(ledger.second_looks(), answers) if name in documents.keys() - unanswered]
        if looks and not FORMS[form].settles:
            print(f"without {len(looks):,} documents that wait for a second look: {form} cannot tell what settles them")
            looks = []
        again = {name: documents[name] for name in looks}
        documents, answers = again | unanswered, []
    rounds = {document: each.number for each in ledger.rounds_for_people() for document in each.ids}
    said = {}
    if given.suggestions:
        table = corpus.own_labels()
        said = {i: table.labels[k] for i, k in zip(table.ids, table.label, strict=True) if k >= 0}
    write(path, form, documents.values(), answers, corpus.task, rounds, said, again)
    print(f"{path}: {len(documents):,} documents, {len(answers):,} answers; labels are {', '.join(corpus.task.labels)}")


def _unanswered(
    documents: Mapping[str, Document], answers: Sequence[Answer], annotator: str | None
) -> dict[str, Document]:
    """Returns the documents that nobody has answered, or that an annotator has not."""
    people = [answer for answer in answers if answer.annotator != GOLD]
    done = verdicts(people if annotator is None else [answer for answer in people if answer.annotator == annotator])
    return {name: document for name, document in documents.items() if name not in done}


def _take(
    corpus: LabeledCorpus, ledger: Ledger, name: str, form: str | None, annotator: str | None, partial: bool
) -> None:
    try:
        taken = take(ledger, name, form_of(name, form), corpus.task, annotator, partial)
    except UnmatchedError as error:
        for problem in error.problems if len(error.problems) > SHOWN else []:
            print(problem)
        raise
    for line in taken.lines():
        print(line)
