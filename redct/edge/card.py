"""The model card: what a classifier is, what it learned from, how good it is and where it ends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2

from redct import __version__

METRICS: Final = ("accuracy", "macro_f1", "weighted_f1", "mcc")


def model_card(content: Mapping[str, Any], bundle: Mapping[str, str] | None, license: str | None) -> str:
    """Returns the card in Markdown, with the front matter of model hubs.

    Args:
        content: What `bundle.json` holds: labels, max_length, provenance.
        bundle: For a bundle, in words: its `precision`, `parity`, `calibration`, `abstention`, and `wheels` (empty
            for none); None for a folder of transformers.
        license: The classifier's licence.
    """
    # Markdown needs no escaping, and a value that is not there shall be noticed.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    template = environment.from_string((Path(__file__).parent / "card.md").read_text(encoding="utf-8"))
    origin = content["provenance"]
    return template.render(
        origin,
        redct=__version__,
        labels=content["labels"],
        context=list(content["columns"]["context"]),
        max_length=content["max_length"],
        scores=_scores(origin["test"]),
        bundle=bundle,
        license=license,
    )


def _scores(metrics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if metrics is None:
        return None
    rows = [[rater, *(_percent(scores[name]) for name in METRICS)] for rater, scores in metrics["scores"].items()]
    return {"names": [name.replace("_", " ") for name in METRICS], "rows": rows}


def _percent(interval: Mapping[str, float]) -> str:
    return f"{100 * interval['value']:.1f} [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"
