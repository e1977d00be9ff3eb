"""Tells in words what is in an archive of evidence, and what is not."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from redct.evidence.edge_labels import IN_SAMPLE, OUT_OF_FOLD
from redct.evidence.predictions import FILE

_KNOWN: Final = {
    "report.json": "every number of the report",
    "evidence.json": "SHA-256 of every file, and which numbers follow from these files",
    "documents.parquet": "id, part, gold label and digest of every document; text only if asked for",
    "labels-*": "what each LLM said: label, probabilities, margin, raw reply, tokens; its manifest, with hashes",
    "experts.sqlite": "rounds of chosen documents with all inclusion probabilities, and every answer of the experts, "
    "with their names and notes",
    "answers.csv": "the experts' answers, of the file that the study took them from",
    "targets.parquet": "what the edge classifier was trained and validated towards, document by document",
    FILE: "label and probabilities of everybody who labeled the held-out documents, and how these were sampled",
    IN_SAMPLE: "label and probabilities of the edge classifier for every document of the corpus. Column `served`: "
    "documents of `train` it was trained on, and on these it looks better than it is; `validation` only scored "
    "it; `reserve` and `nothing` it did not see",
    OUT_OF_FOLD: "the same by classifiers with its options, each taught by LLM and experts on other documents; "
    "the LLM's distributions teach them as they came, since what corrects these rests on all answers",
    "edge/bundle.json": "the edge bundle: parity with the checkpoint, temperature, threshold, hashes",
    "calibration.json": "how the LLM's probabilities were corrected",
    "agreement.json": "agreement of the experts",
    "estimates.json": "shares of labels or regressions",
    "configs/*": "the study's YAML files",
}


def inventory(
    folder: Path, content: Mapping[str, Any], follows: Sequence[str], stale: Sequence[str], texts: bool
) -> str:
    """Returns the archive's README.

    Args:
        folder: The files.
        content: Of `report.json`.
        follows: Places in it whose numbers follow from the other files.
        stale: Those whose numbers should and do not.
        texts: Whether texts are in the archive.
    """
    return "\n".join(_lines(folder, content, follows, stale, texts)) + "\n"


def _lines(
    folder: Path, content: Mapping[str, Any], follows: Sequence[str], stale: Sequence[str], texts: bool
) -> Iterator[str]:
    yield f"# Evidence of the study {content['study']}\n"
    how = "`redct report --from evidence.zip --to FOLDER` makes the report again"
    yield f"Written by redct {content['redct']}; {how}.\n"
    for name, what in _KNOWN.items():
        if name == "evidence.json" or any(folder.glob(name)):
            yield f"- `{name}`: {what}."
    yield "\nIts numbers: " + ", ".join(f"`{name}`" for name in follows)
    yield "of `report.json` are computed again from the other files, and must come out the same; all others are as they"
    yield "were, since they rest on texts, further columns, weights or logs, which are not here."
    lacking = [] if (folder / OUT_OF_FOLD).is_file() else [f"`{OUT_OF_FOLD}`: `redct estimate --labels edge`"]
    lacking += [f"{each['what']}: `{each['command']}`" for each in content["missing"]]
    lacking += [f"`{name}` of `report.json` is of other labels or answers: make it anew" for name in stale]
    lacking += [] if texts else ["texts of the documents: `redct report --bundle_evidence --texts`"]
    if lacking:
        yield "\nNot in it, and what makes it:\n"
        yield from (f"- {each}" for each in lacking)
