"""Writes the report: one HTML file that needs no network and no script, and its numbers as JSON."""

import re
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from redct.evidence.report.course import study
from redct.evidence.report.failures import failures
from redct.evidence.report.headline import verdict
from redct.evidence.report.labels import labels
from redct.evidence.report.methods import methods
from redct.evidence.report.quality import quality
from redct.evidence.report.sources import estimates, provenance
from redct.files import whole, write_json

_SECTIONS: Final = (study, labels, quality, failures, estimates, provenance)


def write_report(content: dict[str, Any], folder: Path) -> Path:
    """Writes `report.html` and `report.json`.

    Args:
        content: Of `gather`.
        folder: The study's.

    Returns:
        The HTML file.
    """
    word, why = verdict(content["metrics"])
    told = {**content, "headline": {"verdict": word, "why": why}, "methods": methods(content)}
    write_json(folder / "report.json", told)
    path = folder / "report.html"
    with whole(path) as temporary:
        temporary.write_text(page(told), encoding="utf-8")
    return path


def page(content: dict[str, Any]) -> str:
    """Returns the report as HTML.

    Args:
        content: Of `report.json`.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    # Texts of documents and names of labels come from anywhere: what is no SVG of ours is escaped, and a control
    # character or half a surrogate pair, which no HTML may hold, is a space.
    environment.finalize = lambda value: (
        re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", " ", value) if type(value) is str else value
    )
    sections = [make(content) for make in _SECTIONS]
    return environment.get_template("page.html").render(content, sections=sections)
