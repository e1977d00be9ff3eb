"""What everybody said about the held-out documents, kept on disk: enough to compute their scores again."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from redct.calibration import scale
from redct.confidence import log_floored
from redct.errors import InputError
from redct.evidence.assessment import Rater, distributions
from redct.evidence.comparison import compare
from redct.evidence.evaluation import confusion
from redct.evidence.plain import plain
from redct.evidence.probabilities import Probabilities, judge
from redct.evidence.resampling import Design
from redct.files import whole

FILE: Final = "predictions.parquet"
_ABOUT: Final = b"redct"  # key of the file's metadata
_SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("rater", pa.string()),
        ("label", pa.string()),
        ("probs", pa.list_(pa.float64())),
        ("gold", pa.string()),
        ("weight", pa.float64()),
        ("cluster", pa.string()),
        ("stratum", pa.string()),
    ]
)


@dataclass(frozen=True)
class Predictions:
    """Raters of N held-out documents.

    Args:
        labels: The task's K labels.
        ids: N ids.
        gold: (N,) 0 to K-1.
        raters: By name, the one that all is about first.
        design: How the documents were sampled.
        seed: Of the resampling.
    """

    labels: list[str]
    ids: list[str]
    gold: npt.NDArray[np.int64]
    raters: dict[str, Rater]
    design: Design
    seed: int

    def write(self, path: Path) -> None:
        """Writes a Parquet file with a row for each rater and document, see `read_predictions`."""
        n = len(self.ids)
        design = {"weight": self.design.weight, "cluster": self.design.cluster, "stratum": self.design.stratum}
        shared = {name: [None] * n if values is None else values.tolist() for name, values in design.items()}
        shared |= {"id": self.ids, "gold": [self.labels[k] for k in self.gold]}
        tables = [
            pa.table({**shared, "rater": [name] * n, **_said(rater, self.labels)}).select(_SCHEMA.names).cast(_SCHEMA)
            for name, rater in self.raters.items()
        ]
        about = {"labels": self.labels, "seed": self.seed}
        with whole(path) as temporary:
            pq.write_table(pa.concat_tables(tables).replace_schema_metadata({_ABOUT: json.dumps(about)}), temporary)

    def rescaled(self, rater: str, temperature: float) -> Probabilities:
        """Returns how far a rater's probabilities could be believed if they were scaled by a temperature."""
        probs = self.raters[rater].probs
        assert probs is not None
        return judge(self.gold, np.exp(scale(log_floored(probs), temperature)), self.design, seed=self.seed)

    def scores(self) -> dict[str, Any]:
        """Returns what of `metrics.json` rests on labels and probabilities alone, as JSON values."""
        said, k = {name: rater.label for name, rater in self.raters.items()}, len(self.labels)
        found = compare(self.gold, said, k, self.design, seed=self.seed)
        return {
            "scores": plain(found.scores),
            "classes": {name: dict(zip(self.labels, plain(each), strict=True)) for name, each in found.classes.items()},
            "differences": plain(found.differences),
            "confusion": {name: confusion(self.gold, label, k).tolist() for name, label in said.items()},
            "probabilities": {
                name: plain(asdict(judge(self.gold, probs, self.design, seed=self.seed)))
                for name, probs in distributions(self.raters).items()
            },
        }


def read_predictions(path: Path) -> Predictions:
    """Reads what `Predictions.write` wrote.

    Raises:
        InputError: When there is no such file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `redct test`")
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[_ABOUT])
    labels, frame = list(about["labels"]), table.to_pandas()
    index, raters = {label: k for k, label in enumerate(labels)}, {}
    for name, rows in frame.groupby("rater", sort=False):
        label = np.array([index.get(each, -1) for each in rows.label], dtype=np.int64)
        known = rows.probs.notna()
        nothing = np.full(len(labels), np.nan)
        probs = np.array([nothing if each is None else each for each in rows.probs], dtype=np.float64)
        raters[str(name)] = Rater(label, probs if known.any() else None)
    first = frame[frame.rater == next(iter(raters))]
    columns = [
        None if first[name].isna().all() else first[name].to_numpy() for name in ("weight", "cluster", "stratum")
    ]
    gold = np.array([index[each] for each in first.gold], dtype=np.int64)
    return Predictions(labels, first.id.tolist(), gold, raters, Design(*columns), int(about["seed"]))


def _said(rater: Rater, labels: list[str]) -> dict[str, list[Any]]:
    label = [labels[k] if k >= 0 else None for k in rater.label.tolist()]
    if rater.probs is None:
        return {"label": label, "probs": [None] * len(label)}
    known = np.isfinite(rater.probs).all(axis=1)
    rows = rater.probs.astype(np.float64).tolist()
    return {"label": label, "probs": [row if given else None for row, given in zip(rows, known, strict=True)]}
