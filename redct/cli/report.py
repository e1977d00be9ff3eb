"""`redct report`: one HTML file with all evidence about a study, and its numbers as JSON. Needs no torch."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from redct.cli.studyfile import read_study
from redct.evidence.report import gather, write_report

DESCRIPTION = (
    "Writes all evidence about a study into one HTML file, report.html in its folder, which opens without network, and "
    "every number into report.json beside it. What the study lacks is named there, with the command that makes it."
)


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    corpus, given = read_study(args, DESCRIPTION)
    content = gather(corpus, shlex.join(args[1:]), [Path(str(each)) for each in given.config])
    path = write_report(content, corpus.folder)
    for lacking in content["missing"]:
        print(f"not there: {lacking['what']}: {lacking['command']}")
    print(f"report: {path} (open it in a browser); all numbers: {path.with_suffix('.json')}")
