"""The flags of `redct predict`: what it would cost, what it may cost, and who gets to see the texts."""

import sys
from itertools import islice
from typing import Any, NamedTuple

from redct.cli.show import show_table
from redct.documents import Documents, missing
from redct.errors import InputError
from redct.hub.api import ApiLabeler
from redct.hub.labeler import Labeler, Share
from redct.hub.store import LabelStore
from redct.hub.times import time_in_words
from redct.task import Task

SHOWN = 3  # prompts that a dry run prints


class Flags(NamedTuple):
    """The flags of `predict` that are no part of a study.

    Attributes:
        dry_run: Print prompts, tokens, cost and time, and label nothing.
        max_cost: US dollars after which an ApiLabeler stops.
        retry_errors: Label documents again that the store holds as errors.
        yes: Send the texts to another host without asking.
        only_below: Label only documents whose margin in `of` is below this.
        of: The label store of an earlier, cheaper labeler.
    """

    dry_run: bool = False
    max_cost: float | None = None
    retry_errors: bool = False
    yes: bool = False
    only_below: float | None = None
    of: str | None = None


def add_flags(parser: Any) -> None:  # noqa: ANN401 - jsonargparse's parser
    """Adds the flags to the parser of `predict`."""
    parser.add_argument(
        "--dry_run", action="store_true", help="print three prompts, tokens, price and time; label nothing"
    )
    parser.add_argument("--max_cost", type=float | None, help="US dollars at which an ApiLabeler stops")
    parser.add_argument("--retry_errors", action="store_true", help="label documents again that ended in an error")
    parser.add_argument("--yes", action="store_true", help="send the texts to the labeler's host without asking")
    parser.add_argument("--only_below", type=float | None, help="label only documents with a smaller margin in --of")
    parser.add_argument("--of", type=str | None, help="label store of a cheaper labeler, such as runs/a/labels")


def read_flags(config: Any) -> Flags:  # noqa: ANN401 - jsonargparse's namespace
    """Returns the flags that were given.

    Raises:
        InputError: When one is missing or makes no sense.
    """
    flags = Flags(*(config[name] for name in Flags._fields))
    if (flags.only_below is None) != (flags.of is None):
        raise InputError(
            "--only_below and --of: found one of them, expected both, such as --only_below 1 --of runs/a/labels"
        )
    if flags.max_cost is not None and not flags.max_cost > 0:  # nan is no limit either
        raise InputError(f"--max_cost: found {flags.max_cost}, expected more than 0 US dollars")
    return flags


def narrow(documents: Documents, task: Task, flags: Flags) -> tuple[Documents, list[str]]:
    """Returns the documents that `--only_below` and `--of` leave, all of them without these, and a line about it.

    Raises:
        InputError: When there is no such label store, or it is of another task.
    """
    if flags.of is None or flags.only_below is None:
        return documents, []
    unsure = LabelStore(flags.of).unsure(task.labels, flags.only_below)
    chosen = ~missing(documents, unsure)
    left = Share(documents, chosen)
    what = f"have no label or a margin below {flags.only_below:g} in {flags.of}"
    return left, [f"{len(left):,} of {len(documents):,} documents {what}"]


def limit_cost(labeler: Labeler, flags: Flags) -> None:
    """Gives the labeler its limit of cost.

    Raises:
        InputError: When the labeler costs nothing that redct knows of.
    """
    if flags.max_cost is not None:
        if not isinstance(labeler, ApiLabeler):
            raise InputError(
                f"--max_cost: {type(labeler).__name__} costs nothing; expected it with redct.hub.ApiLabeler"
            )
        labeler.max_cost = flags.max_cost


def ask_consent(labeler: Labeler, yes: bool) -> None:
    """Asks whether the texts may go to the labeler's host, where that is not this machine.

    Raises:
        InputError: When they may not, or nobody is there to say.
    """
    host = labeler.destination
    if host is None or yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"the texts would be sent to {host}; expected --yes to agree to that")
    answer = input(f"The texts of this study will be sent to {host}. Go on? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise InputError(f"the texts are not sent to {host}, as you said; nothing was labeled")


def show_plan(labeler: Labeler) -> None:
    """Prints what labeling would send, and what it would take."""
    left = labeler.documents()
    first = list(islice(left, SHOWN))
    for document, prompt in zip(first, labeler.preview(first), strict=True):
        print(f"== {document.id}\n{prompt}\n")
    show_table("to be labeled", ["", ""], [("documents", f"{len(left):,}"), *labeler.plan()])
    print("nothing was labeled: a dry run")


def show_usage(store: LabelStore) -> None:
    """Prints how long labeling took in all its runs, and what the replies of an endpoint cost where there is one."""
    manifest = store.manifest()
    print(f"labeling took so far: {time_in_words(manifest.get('time'), store.rows())}")
    usage = manifest.get("usage")
    if usage is None:
        return
    tokens = f"{usage['prompt_tokens']:,} prompt tokens ({usage['cached_tokens']:,} cached)"
    line = f"paid so far: {tokens}, {usage['completion_tokens']:,} completion tokens"
    if usage["cost_usd"] is not None:
        line += f", {usage['cost_usd']:.4f} US dollars at the prices of {usage['prices_of']}"
    print(line)
