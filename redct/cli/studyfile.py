"""Reads a study's YAML for commands that need no torch: the same file and options, in a fraction of the time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from redct.documents import Document
from redct.errors import InputError
from redct.experts import Ledger
from redct.task import Task
from redct.training.corpus import LabeledCorpus

GROUPS = ("model", "labeler", "trainer")
OF_THE_CLASSIFIER = ("encoder", "max_length", "batch_size")  # options of data that no other command needs


def study_folder(files: Sequence[object], given: object) -> str:
    """Returns the folder of a study.

    Args:
        files: The YAML files that were given, the study's last.
        given: `trainer.default_root_dir`; nothing where it is not named.
    """
    return str(given or Path("runs") / (Path(str(files[-1])).stem if files else "study"))


def read_study(
    args: Sequence[str], description: str, add_options: Callable[[ArgumentParser], None] = lambda _: None
) -> tuple[LabeledCorpus, Namespace]:
    """Reads a study for a command.

    Args:
        args: The command's name and its options.
        description: What the command does.
        add_options: Adds the command's own options.

    Returns:
        The study's documents, and all options.

    Raises:
        InputError: When something of it is not as it must be.
    """
    parser = ArgumentParser(prog=f"redct {args[0]}", description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", required=True, help="the study's YAML")
    add_options(parser)
    parser.add_argument("--seed_everything", type=int, default=1, help="seed of everything random")
    parser.add_class_arguments(Task, "task", sub_configs=True)
    parser.add_class_arguments(LabeledCorpus, "data", sub_configs=False)
    for name in (*GROUPS, *(f"data.{option}" for option in OF_THE_CLASSIFIER)):
        parser.add_argument(f"--{name}", type=dict if name in GROUPS else Any, help="not used by this command")
    parser.link_arguments("task", "data.task", apply_on="instantiate")
    parser.link_arguments("seed_everything", "data.seed")
    options = parser.parse_args(list(args[1:]))
    trainer = options.trainer if isinstance(options.trainer, dict) else {}
    options.data.folder = study_folder(options.config, trainer.get("default_root_dir"))
    for option in OF_THE_CLASSIFIER:
        options.data.pop(option)
    return parser.instantiate(options).data, options


def chosen_documents(corpus: LabeledCorpus, ledger: Ledger) -> dict[str, Document]:
    """Returns the documents that people are asked about, by id, in the order of the corpus.

    Those that are not in the corpus any more are left out; their answers are in the ledger all the same.

    Raises:
        InputError: When none was chosen, or one says something else now.
    """
    chosen = {document for each in ledger.rounds_for_people() for document in each.ids}
    if not chosen:
        raise InputError(f"{ledger.path}: no documents were chosen yet; choose some with `redct sample`")
    documents = {document.id: document for document in corpus.splits().train if document.id in chosen}
    ledger.check_texts(documents.values())
    return documents
