"""`redct report`: one HTML file with all evidence about a study, and its numbers as JSON. Needs no torch."""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redct.cli.studyfile import read_study
from redct.errors import InputError
from redct.evidence.predictions import FILE
from redct.evidence.report import gather, pack, unpack, write_report

DESCRIPTION = (
    "Writes all evidence about a study into one HTML file, report.html in its folder, which opens without network, and "
    "every number into report.json beside it. What the study lacks is named there, with the command that makes it. "
    "`redct report --from evidence.zip --to FOLDER` makes the report of an archive again, without the study."
)


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    if any(word.split("=")[0] == "--from" for word in args):
        _from_archive(args)
        return
    corpus, given = read_study(args, DESCRIPTION, _add_options)
    if given.texts and not given.bundle_evidence:
        raise InputError("--texts: says what is in an archive, expected --bundle_evidence too")
    study = shlex.join(word for word in args[1:] if word not in ("--bundle_evidence", "--texts"))
    content = gather(corpus, study, [Path(str(each)) for each in given.config])
    path = write_report(content, corpus.folder)
    for lacking in content["missing"]:
        print(f"not there: {lacking['what']}: {lacking['command']}")
    _tell(path)
    if given.bundle_evidence:
        if not (corpus.folder / FILE).is_file():
            print(f"not in the archive: {FILE}, without which scores cannot be computed again: redct test {study}")
        archive = corpus.folder / "evidence.zip"
        numbers = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        for name in pack(corpus, numbers, archive, given.texts):
            print(f"in the archive, {name} is of other labels or answers than those that are in it: make it anew")
        print(f"archive: {archive}; elsewhere: redct report --from {archive.name} --to FOLDER")


def _add_options(parser: Any) -> None:  # noqa: ANN401 - jsonargparse's parser
    texts = "whether texts of documents are in the archive too; else their ids, and no text that the report quotes"
    parser.add_argument(
        "--bundle_evidence", action="store_true", help="write evidence.zip too, from which the report can be made again"
    )
    parser.add_argument("--texts", action="store_true", help=texts)


def _from_archive(args: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog=f"redct {args[0]}", description=DESCRIPTION)
    parser.add_argument("--from", dest="archive", type=Path, required=True, help="an archive of --bundle_evidence")
    parser.add_argument("--to", type=Path, help="a new folder for it; by default named as the archive")
    given = parser.parse_args(args[1:])
    folder = given.to or given.archive.with_suffix("")
    content = unpack(given.archive, folder)
    _tell(write_report(content, folder))


def _tell(path: Path) -> None:
    print(f"report: {path} (open it in a browser); all numbers: {path.with_suffix('.json')}")
