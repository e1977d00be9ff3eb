"""From the checkpoint to a folder that someone copies to another machine."""

import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from redct.calibration import fit_temperature, scale
from redct.documents import Document
from redct.edge.abstention import Abstention, choose_thresholds
from redct.edge.bundle import copy_runtime, seal
from redct.edge.card import model_card
from redct.edge.graph import write_graph
from redct.edge.parity import Parity, compare
from redct.edge.provenance import provenance
from redct.edge.quantization import PRECISIONS, Inputs, Precision
from redct.edge.runtime import Bundle, Classified, summarise
from redct.edge.wheels import fetch_wheels, requirements
from redct.errors import InputError
from redct.files import sha256, whole
from redct.training.classifier import EdgeClassifier, load_tokenizer
from redct.training.datamodule import LabeledTextDataModule
from redct.training.parts import Part
from redct.training.reserve import check_unused
from redct.training.tokens import pairs

FEWEST_FOR_PARITY: Final = 500
FEWEST_UNSEEN: Final = 200  # fewer say too little of 99 %, and training documents are added
FEWEST_FOR_TEMPERATURE: Final = 50
SAMPLES: Final = 64  # documents by which it is chosen how layers are quantised

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ExportOptions:
    """How a bundle is made.

    Args:
        precision: Of the weights; `auto` takes the fastest that answers as the checkpoint does.
        max_error: Highest share of wrong labels among the answered documents; None to answer all of them.
        delta: Probability that this fails, over the draw of the reserved documents.
        per_class: Whether max_error shall hold for the documents of each predicted label by themselves.
        wheels: Whether the runtime's wheels are put into the bundle.
        python: Version of the Python that they are for; by default this one's.
        platform: The platform that they are for, one of `redct.edge.wheels.PLATFORMS`; by default this one.
        license: The classifier's licence, for the card.
    """

    precision: Literal["auto"] | Precision = "auto"
    max_error: float | None = None
    delta: float = 0.05
    per_class: bool = False
    wheels: bool = False
    python: str | None = None
    platform: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class Exported:
    """What became of an export.

    Args:
        folder: The bundle.
        precision: Of its weights.
        parity: It beside the checkpoint.
        abstention: When it abstains; None if never.
        notes: What the user should know.
    """

    folder: Path
    precision: Precision
    parity: Parity
    abstention: Abstention | None
    notes: list[str]


@dataclass(frozen=True)
class _Checkpoint:
    """The trained classifier, as it answers by itself."""

    model: EdgeClassifier
    tokenizer: Any
    max_length: int

    def encoded(self, documents: Sequence[Document]) -> Iterator[Inputs]:
        """Yields what the network gets for each document, (1, T) a tensor."""
        for document in documents:
            texts = {name: values[0] for name, values in pairs([document]).items()}
            rows = self.tokenizer(**texts, truncation="longest_first", max_length=self.max_length, return_tensors="pt")
            yield dict(rows)

    @torch.inference_mode()
    def logits(self, documents: Sequence[Document]) -> Floats:
        """Returns (N, K)."""
        network = self.model.eval()
        rows: list[Tensor] = [network(inputs)[0] for inputs in self.encoded(documents)]
        return torch.stack(rows).double().numpy()


def export_bundle(
    model: EdgeClassifier,
    data: LabeledTextDataModule,
    checkpoint: Path,
    folder: Path,
    options: ExportOptions,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Writes the bundle of a study.

    Args:
        model: The trained classifier, on the CPU.
        data: The study's documents.
        checkpoint: The file that the classifier was read from.
        folder: The bundle; one that is there is replaced when the new one is whole.
        options: How it is made.
        say: Is told what is being done.

    Raises:
        InputError: When the bundle does not answer as the checkpoint does, or an option cannot be met.
    """
    _check_replaceable(folder, "bundle.json")
    data.setup("validate")
    trained_on = _check_targets(data, checkpoint)
    reserve = _reserve(data, trained_on) if options.max_error is not None else None  # refused before any work
    train, validation = data.parts["train"].part, data.parts["validation"].part
    trained = _Checkpoint(model.float(), load_tokenizer(model.encoder), int(data.max_length or 0))
    judged, label = _for_parity(data, validation, train)
    say(f"labeling {len(judged):,} documents with the checkpoint")
    logits = trained.logits(judged)
    judging = logits[: len(validation.documents)]
    temperature, calibration = choose_temperature(judging, validation, data.corpus.provenance.unrepresentative)
    content = _content(data, trained.max_length) | {"temperature": temperature, "abstention": None}
    with whole(folder) as temporary:
        _write_surroundings(temporary, trained.tokenizer, options)
        samples = list(trained.encoded(train.documents[:SAMPLES]))
        comparison = _Comparison(judged, label, np.exp(scale(logits, temperature)))
        write = _Writer(model, samples, temporary, content, say)
        precision, parity, notes = write.fastest(comparison, options.precision)
        bundle = Bundle(temporary)
        seen = _classify(bundle, validation.documents)
        abstention = _abstention(bundle, reserve, seen, options) if reserve else None
        content |= {
            "precision": precision,
            "parity": asdict(parity),
            "abstention": abstention and asdict(abstention),
            "reference": summarise(seen, validation.weight),
            "provenance": provenance(data, model, checkpoint),
        }
        words = {
            "precision": precision,
            "parity": str(parity),
            "calibration": calibration,
            "abstention": str(abstention) if abstention else "it answers every document",
            "wheels": _wheels_for(options),
        }
        (temporary / "README.md").write_text(model_card(content, words, options.license), encoding="utf-8")
        seal(temporary, content)
    return Exported(folder, precision, parity, abstention, notes)


def _check_replaceable(folder: Path, mark: str) -> None:
    """Refuses to replace what is no earlier export."""
    if folder.exists() and not (folder / mark).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: is there already and has no {mark}; expected an earlier export, or a new folder")


def _content(data: LabeledTextDataModule, max_length: int) -> dict[str, Any]:
    return {"labels": data.corpus.task.labels, "columns": asdict(data.corpus.task.columns), "max_length": max_length}


def _abstention(bundle: Bundle, reserve: Part, seen: Classified, options: ExportOptions) -> Abstention:
    assert options.max_error is not None
    return choose_thresholds(
        _classify(bundle, reserve.documents).probs,
        reserve.label,
        seen.probs,
        max_error=options.max_error,
        delta=options.delta,
        per_class=options.per_class,
    )


def _check_targets(data: LabeledTextDataModule, checkpoint: Path) -> str:
    """Returns the hash of the targets that the checkpoint was trained with, which must be those that are there now.

    Otherwise documents that served its training could validate it.
    """
    state = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)
    trained_on = state.get(type(data).__name__, {}).get("targets")
    if trained_on != sha256(data.corpus.targets_path):
        where = data.corpus.targets_path
        raise InputError(f"{where}: found other targets than {checkpoint} was trained with; run `redct fit` again")
    return str(trained_on)


def _reserve(data: LabeledTextDataModule, trained_on: str) -> Part:
    """Returns the documents to choose the threshold on, which have served nothing else."""
    reserve = data.corpus.reserve_part()
    check_unused([document.id for document in reserve.documents], data.corpus.targets_path, trained_on)
    return reserve


def _for_parity(data: LabeledTextDataModule, validation: Part, train: Part) -> tuple[list[Document], Integers]:
    """Returns the documents on which bundle and checkpoint are compared, the validation's first, and their labels.

    At least 500, or all. A classifier is surer of what it was trained on, which hides small differences: so texts
    held out for the test come before training documents. Of these only the texts are used, never the labels (-1),
    since the choice of a precision must not rest on them.
    """
    documents, label = [*validation.documents], [validation.label]
    if (room := FEWEST_FOR_PARITY - len(documents)) > 0:
        held_out = data.corpus.splits().test.documents[:room]
        documents += held_out
        label.append(np.full(len(held_out), -1))
    if (room := FEWEST_FOR_PARITY - len(documents)) > 0 and len(documents) < FEWEST_UNSEEN:
        more = train.rows(np.random.default_rng(data.corpus.seed).permutation(len(train.documents))[:room])
        documents += more.documents
        label.append(more.label)
    return documents, np.concatenate(label)


def choose_temperature(logits: Floats, validation: Part, unrepresentative: str | None) -> tuple[float, str]:
    """Fits the classifier's temperature, where labels allow it.

    Args:
        logits: (M, K) the classifier's, for the documents of `validation`.
        validation: M documents.
        unrepresentative: Why the experts' documents do not stand for the corpus; None where they do.

    Returns:
        The temperature, 1 where none can be fitted, and in words how it came about.
    """
    source, count = validation.source[0], len(validation.source)
    as_it_is = "as the classifier gives them"
    if source == "llm":
        return 1.0, f"{as_it_is}: validated on the LLM's labels, which fit no temperature"
    if count < FEWEST_FOR_TEMPERATURE:
        return 1.0, f"{as_it_is}: {count} {source} labels are too few to fit a temperature"
    if source == "expert" and unrepresentative is not None:
        return 1.0, f"{as_it_is}: the experts' documents are not representative, since {unrepresentative}"
    fitted = fit_temperature(logits, validation.label, validation.weight)
    return fitted, f"scaled by a temperature of {fitted:.2f}, fitted to {count} {source} labels"


def _write_surroundings(folder: Path, tokenizer: Any, options: ExportOptions) -> None:  # noqa: ANN401
    """Writes all of a bundle that does not depend on the model's precision."""
    folder.mkdir()
    copy_runtime(folder)
    tokenizer.backend_tokenizer.no_truncation()  # the runtime sets it, from bundle.json
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "requirements.txt").write_text(requirements(), encoding="utf-8")
    if options.wheels:
        (folder / "wheels").mkdir()
        fetch_wheels(folder / "wheels", options.python, options.platform)


class _Comparison(NamedTuple):
    """Documents, (N,) their labels or -1, and (N, K) what the checkpoint says about them."""

    documents: list[Document]
    label: Integers
    probs: Floats

    def parity(self, folder: Path) -> Parity:
        return compare(self.probs, _classify(Bundle(folder), self.documents).probs, self.label)


class _Writer(NamedTuple):
    """Writes the graph into a bundle."""

    model: EdgeClassifier
    samples: Sequence[Inputs]
    folder: Path
    content: dict[str, Any]
    say: Callable[[str], None]

    def fastest(self, comparison: _Comparison, asked: str) -> tuple[Precision, Parity, list[str]]:
        """Writes the fastest graph that answers as the checkpoint; returns its precision, and why not a faster one."""
        assert self.model.network is not None
        tried: list[str] = []
        for precision in PRECISIONS if asked == "auto" else [p for p in PRECISIONS if p == asked]:
            self.say(f"writing {precision} and comparing it")
            write_graph(self.model.network, precision, self.samples, self.folder / "model.onnx")
            seal(self.folder, self.content | {"precision": precision})
            parity = comparison.parity(self.folder)
            if parity.equal:
                return precision, parity, tried
            tried.append(f"{precision} does not answer as the checkpoint does: {parity}")
        finer = "; --precision auto takes a finer one where it must" if asked in PRECISIONS[:-1] else ""
        raise InputError("; ".join(tried) + finer)


def _classify(bundle: Bundle, documents: Sequence[Document]) -> Classified:
    contexts = [document.context for document in documents] if bundle.context_fields else None
    return bundle.classify([document.text for document in documents], contexts)


def _wheels_for(options: ExportOptions) -> str:
    if not options.wheels:
        return ""
    python = options.python or ".".join(map(str, sys.version_info[:2]))
    return f"Python {python}, {options.platform or sysconfig.get_platform()}"


def export_huggingface(
    model: EdgeClassifier, data: LabeledTextDataModule, checkpoint: Path, folder: Path, license: str | None
) -> None:
    """Writes a folder that `transformers.pipeline` and `push_to_hub` take, with the model card.

    Args:
        model: The trained classifier.
        data: The study's documents.
        checkpoint: The file that the classifier was read from.
        folder: The folder; one that is there is replaced.
        license: The classifier's licence, for the card.
    """
    _check_replaceable(folder, "config.json")
    data.setup("validate")
    content = _content(data, int(data.max_length or 0)) | {"provenance": provenance(data, model, checkpoint)}
    model.save_huggingface(folder, int(data.max_length or 0))
    (folder / "README.md").write_text(model_card(content, None, license), encoding="utf-8")
